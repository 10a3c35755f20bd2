"""Changes the number of accumulated batches in the course of training."""

from collections.abc import Mapping
from typing import Any

from lt_interfaces import Callback, MisconfigurationException, Trainer


class GradientAccumulationScheduler(Callback):
    """Accumulates `scheduling[epoch]` batches per step from that epoch (from 0) on; 1 before the first one."""

    def __init__(self, scheduling: Mapping[int, int]) -> None:
        if not scheduling:
            raise TypeError("`scheduling` is empty. Give a dict such as {0: 1, 4: 8}: from epoch 4 on, 8 batches.")
        for epoch, factor in scheduling.items():
            if not isinstance(epoch, int) or not isinstance(factor, int) or epoch < 0 or factor < 1:
                raise MisconfigurationException(
                    f"`scheduling` has {epoch!r}: {factor!r}. Give epochs from 0 and numbers of batches from 1."
                )
        self.scheduling = dict(sorted({0: 1, **scheduling}.items()))

    def get_accumulate_grad_batches(self, epoch: int) -> int:
        """The number of batches in this epoch."""
        return [factor for start, factor in self.scheduling.items() if start <= epoch][-1]

    def going_to_accumulate_grad_batches(self) -> bool:
        """True if any epoch accumulates."""
        return any(factor > 1 for factor in self.scheduling.values())

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        if stage != "fit":
            return
        if not getattr(pl_module, "automatic_optimization", True):
            raise MisconfigurationException(
                "`GradientAccumulationScheduler` has no effect with manual optimization. Accumulate in `training_step`."
            )
        if trainer.accumulate_grad_batches != 1:
            raise MisconfigurationException(
                f"`accumulate_grad_batches={trainer.accumulate_grad_batches}` is given to the trainer too. "
                "Leave it out: `GradientAccumulationScheduler` sets it."
            )

    def teardown(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        if stage == "fit":
            trainer.accumulate_grad_batches = 1

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """A run that resumes within an epoch sees no start of it."""
        self.on_train_epoch_start(trainer, pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        trainer.accumulate_grad_batches = self.get_accumulate_grad_batches(trainer.current_epoch)
