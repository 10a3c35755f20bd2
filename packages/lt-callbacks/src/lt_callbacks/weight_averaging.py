"""Averages the weights while they train; validation, checkpoints and the finished module get the average."""

from typing import Any

import torch
from lt_interfaces import Callback, Trainer, rank_zero_warn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from lt_callbacks.averaged_weights import Average, AveragedWeights, epoch_is_whole, is_live, restore_live


class WeightAveraging(Callback):
    """Keeps the mean of the weights after each step; override `should_update` for other moments.

    Validation runs with the average, and the module ends training with it. A checkpoint has the average as
    `state_dict`, so evaluation loads it, and the weights in training as `current_model_state`, from which `fit`
    continues. Before the first update the weights are their own average. Functions for other averages are those of
    `torch.optim.swa_utils`.
    """

    def __init__(
        self,
        device: torch.device | str | int | None = None,
        use_buffers: bool = True,
        avg_fn: Average | None = None,
        multi_avg_fn: Average | None = None,
    ) -> None:
        self._average = AveragedWeights(device, use_buffers, avg_fn, multi_avg_fn)
        self._module: Any = None
        self._fits = False
        self._latest_update_step = 0

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        """Asked with `step_idx` after each optimizer step and with `epoch_idx` after each epoch, both from 0."""
        return step_idx is not None

    def state_dict(self) -> dict[str, Any]:
        return {"latest_update_step": self._latest_update_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._latest_update_step = state_dict["latest_update_step"]

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        self._fits = stage == "fit"
        if self._fits and self._module is pl_module:
            self._average.take_out(pl_module)
        elif self._fits:
            self._average.load({}, 0)
            self._module, self._latest_update_step = pl_module, trainer.global_step

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        step = trainer.global_step
        if step > self._latest_update_step and self.should_update(step_idx=step - 1):
            self._average.update(pl_module)
            self._latest_update_step = step

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        if epoch_is_whole(trainer) and self.should_update(epoch_idx=trainer.current_epoch):
            self._average.update(pl_module)

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        if self._fits:
            self._average.put_in(pl_module)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        if self._fits:
            self._average.take_out(pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        self._average.put_in(pl_module)

    def on_exception(self, trainer: Trainer, pl_module: Any, exception: BaseException) -> None:
        if self._fits:
            self._average.take_out(pl_module)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        state, average = checkpoint["state_dict"], self._average
        checkpoint["averaging_state"] = {"n_averaged": torch.tensor(average.n_averaged)}
        checkpoint["current_model_state"] = average.live_state(pl_module, state)
        checkpoint["state_dict"] = average.averaged_state(pl_module, state)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        if not self._fits or is_live(checkpoint):
            return
        if "current_model_state" in checkpoint:
            self._average.load(checkpoint["state_dict"], int(checkpoint["averaging_state"]["n_averaged"]))
            restore_live(pl_module, checkpoint)
        else:
            self._average.load({}, 0)
            rank_zero_warn(
                f"The checkpoint holds no average of weights, so `{type(self).__name__}` begins one. "
                "Continue from a file that was written with it to go on with its average."
            )


class EMAWeightAveraging(WeightAveraging):
    """Keeps an exponential average: `decay` of the old one and the rest of the new weights, every so many steps."""

    def __init__(
        self,
        device: torch.device | str | int | None = None,
        use_buffers: bool = True,
        decay: float = 0.999,
        update_every_n_steps: int = 1,
        update_starting_at_step: int | None = None,
        update_starting_at_epoch: int | None = None,
    ) -> None:
        if not 0 <= decay <= 1:
            raise ValueError(f"`decay` must be between 0 and 1, got {decay!r}. Use 0.999, for instance.")
        average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        super().__init__(device, use_buffers, multi_avg_fn=average)
        self.update_every_n_steps = update_every_n_steps
        self.update_starting_at_step = update_starting_at_step
        self.update_starting_at_epoch = update_starting_at_epoch

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        if step_idx is not None:
            every, start = self.update_every_n_steps, self.update_starting_at_step or 0
            return every > 0 and step_idx >= start and step_idx % every == 0
        start_epoch = self.update_starting_at_epoch
        return start_epoch is not None and epoch_idx is not None and epoch_idx >= start_epoch
