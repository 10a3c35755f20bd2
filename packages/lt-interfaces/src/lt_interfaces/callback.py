"""The hooks of a callback: base class, documentation and vocabulary in one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from lt_interfaces.trainer import Trainer


class Callback:
    """Acts at the moments of a run that it overrides. Inheriting is for completion: any object with hooks will do.

    Each hook gets the trainer and the module first. Callbacks act in list order, before the module's own hook.
    """

    priority: ClassVar[int] = 0
    """Order in the trainer's list: -1 before the others (tuners), 1 after them (checkpoints)."""

    decides_on_epoch: ClassVar[bool] = False
    """True if `on_train_epoch_end` must come after the module's, since it reads metrics logged there."""

    @property
    def state_key(self) -> str:
        """Name of the callback's state in a checkpoint; unique among the stateful ones of a trainer."""
        return type(self).__qualname__

    def state_dict(self) -> dict[str, Any]:
        """What the callback must remember across a restart; empty if nothing."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a saved state."""

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        """Before anything runs; `stage` is "fit", "validate", "test" or "predict"."""

    def teardown(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        """After everything ran, also when it failed."""

    def on_fit_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Model on its device, optimizers made, nothing trained yet."""

    def on_fit_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Fit is over, the model still on its device."""

    def on_sanity_check_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Before the few validation batches that check the code ahead of training."""

    def on_sanity_check_end(self, trainer: Trainer, pl_module: Any) -> None:
        """After them; their metrics are gone."""

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Training begins."""

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Training is over."""

    def on_train_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        """A training epoch begins."""

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """A training epoch is over, its validation included."""

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Before a training step."""

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """After a training step; `outputs` is a dict with the detached `loss`."""

    def on_before_zero_grad(self, trainer: Trainer, pl_module: Any, optimizer: Any) -> None:
        """Before gradients are cleared."""

    def on_before_backward(self, trainer: Trainer, pl_module: Any, loss: Any) -> None:
        """Before the backward pass."""

    def on_after_backward(self, trainer: Trainer, pl_module: Any) -> None:
        """Gradients are there, not yet clipped."""

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: Any, optimizer: Any) -> None:
        """Gradients are unscaled, not yet clipped."""

    def on_validation_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Validation begins."""

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Validation is over, its metrics final."""

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        """The pass over the validation data begins."""

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """The pass over the validation data is over."""

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Before a validation step."""

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """After a validation step; `outputs` is what the step returned."""

    def on_test_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Testing begins."""

    def on_test_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Testing is over, its metrics final."""

    def on_test_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        """The pass over the test data begins."""

    def on_test_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """The pass over the test data is over."""

    def on_test_batch_start(
        self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Before a test step."""

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """After a test step; `outputs` is what the step returned."""

    def on_predict_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Prediction begins."""

    def on_predict_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Prediction is over."""

    def on_predict_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        """The pass over the prediction data begins."""

    def on_predict_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """The pass over the prediction data is over."""

    def on_predict_batch_start(
        self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Before a predict step."""

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """After a predict step; `outputs` is what the step returned."""

    def on_exception(self, trainer: Trainer, pl_module: Any, exception: BaseException) -> None:
        """The run was stopped by an exception or an interrupt."""

    def on_save_checkpoint(self, trainer: Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Add to a checkpoint before it is written."""

    def on_load_checkpoint(self, trainer: Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Read from a checkpoint before the rest of it is restored."""
