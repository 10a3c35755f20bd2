"""The hooks of a module, the list of all hook names, and what it means to override one.

The names are derived from the two classes of hooks and nowhere typed again.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from lt_interfaces.callback import Callback

F = TypeVar("F", bound=Callable[..., Any])


class ModuleHooks:
    """The moments of a run that a module may act on; each default does nothing."""

    def prepare_data(self) -> None:
        """Download and prepare, in one process per node; set no state here."""

    def setup(self, stage: str) -> None:
        """Make datasets and layers, in every process; `stage` is "fit", "validate", "test" or "predict"."""

    def teardown(self, stage: str) -> None:
        """Let go of what `setup` made."""

    def configure_model(self) -> None:
        """Make layers that need the device or a mesh; called by every entry point, so it must be idempotent."""

    def on_fit_start(self) -> None:
        """Model on its device, optimizers made, nothing trained yet."""

    def on_fit_end(self) -> None:
        """Fit is over, the model still on its device."""

    def on_train_start(self) -> None:
        """Training begins."""

    def on_train_end(self) -> None:
        """Training is over."""

    def on_train_epoch_start(self) -> None:
        """A training epoch begins."""

    def on_train_epoch_end(self) -> None:
        """A training epoch is over, its validation included."""

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> int | None:
        """Before a training step; return -1 to skip the rest of the epoch."""

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """After a training step; `outputs` is a dict with the detached `loss`."""

    def on_before_zero_grad(self, optimizer: Any) -> None:
        """Before gradients are cleared."""

    def on_before_backward(self, loss: Any) -> None:
        """Before the backward pass."""

    def on_after_backward(self) -> None:
        """Gradients are there, not yet clipped."""

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        """Gradients are unscaled, not yet clipped."""

    def on_validation_start(self) -> None:
        """Validation begins."""

    def on_validation_end(self) -> None:
        """Validation is over, its metrics final."""

    def on_validation_epoch_start(self) -> None:
        """The pass over the validation data begins."""

    def on_validation_epoch_end(self) -> None:
        """The pass over the validation data is over."""

    def on_validation_batch_start(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Before a validation step."""

    def on_validation_batch_end(self, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """After a validation step; `outputs` is what the step returned."""

    def on_test_start(self) -> None:
        """Testing begins."""

    def on_test_end(self) -> None:
        """Testing is over, its metrics final."""

    def on_test_epoch_start(self) -> None:
        """The pass over the test data begins."""

    def on_test_epoch_end(self) -> None:
        """The pass over the test data is over."""

    def on_test_batch_start(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Before a test step."""

    def on_test_batch_end(self, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """After a test step; `outputs` is what the step returned."""

    def on_predict_start(self) -> None:
        """Prediction begins."""

    def on_predict_end(self) -> None:
        """Prediction is over."""

    def on_predict_epoch_start(self) -> None:
        """The pass over the prediction data begins."""

    def on_predict_epoch_end(self) -> None:
        """The pass over the prediction data is over."""

    def on_predict_batch_start(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Before a predict step."""

    def on_predict_batch_end(self, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """After a predict step; `outputs` is what the step returned."""

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add to a checkpoint before it is written."""

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Read from a checkpoint before the rest of it is restored."""


def default_hook(function: F) -> F:
    """Mark a base class's own implementation, so that `is_overridden` is False for it."""
    function.__lt_default__ = True  # type: ignore[attr-defined]
    return function


def is_overridden(obj: Any, name: str) -> bool:
    """True if `obj` has a method `name` that is not a marked default; works for any class, mocks and partials too."""
    method = getattr(obj, name, None)
    return callable(method) and not getattr(getattr(method, "__func__", method), "__lt_default__", False)


def _hooks(owner: type) -> tuple[str, ...]:
    found = {n: v for n, v in vars(owner).items() if callable(v) and not n.startswith("_")}
    for method in found.values():
        default_hook(method)
    return tuple(n for n in found if "state_dict" not in n)


CALLBACK_HOOKS = _hooks(Callback)
MODULE_HOOKS = _hooks(ModuleHooks)
