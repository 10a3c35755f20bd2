"""What a module does where its author says nothing else.

The trainer skips these defaults and does the same on a shorter path, so they act where a subclass calls `super()`.
"""

from collections.abc import Callable
from typing import Any, NoReturn

import torch
from lt_interfaces import ModuleHooks, default_hook
from torch import nn

from lt_module.data_hooks import DataHooks


class DefaultHooks(DataHooks, ModuleHooks, nn.Module):
    """The steps, the optimizer hooks, the data hooks and the mode switches of a module."""

    @default_hook
    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        """The loss of a batch (a tensor, or a dict with `loss`); None skips the batch. Gets `batch, batch_idx`."""
        self._needs("training_step(self, batch, batch_idx)")

    @default_hook
    def validation_step(self, *args: Any, **kwargs: Any) -> Any:
        """Evaluate one validation batch. Gets `batch, batch_idx`, and `dataloader_idx` with several loaders."""

    @default_hook
    def test_step(self, *args: Any, **kwargs: Any) -> Any:
        """Evaluate one test batch. Gets `batch, batch_idx`, and `dataloader_idx` with several loaders."""

    @default_hook
    def predict_step(self, *args: Any, **kwargs: Any) -> Any:
        """The predictions for a batch: `self(batch)`. Gets `batch, batch_idx, dataloader_idx`."""
        return self(kwargs["batch"] if "batch" in kwargs else args[0])

    @default_hook
    def configure_optimizers(self) -> Any:
        """The optimizers and schedulers: one optimizer, a list, a pair of lists, a dict, or None."""
        self._needs("configure_optimizers(self)")

    @default_hook
    def configure_callbacks(self) -> Any:
        """Callbacks to add to the trainer's; those of the same class are replaced."""
        return []

    @default_hook
    def optimizer_step(
        self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Callable[[], Any] | None = None
    ) -> Any:
        """Step the optimizer; the closure runs the training step and the backward pass."""
        return optimizer.step(closure=optimizer_closure)

    @default_hook
    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: Any) -> None:
        """Clear the gradients."""
        optimizer.zero_grad()

    @default_hook
    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Step a scheduler; `metric` is the monitored value, or None."""
        if metric is None:
            scheduler.step()
        else:
            scheduler.step(metric)

    @default_hook
    def backward(self, loss: torch.Tensor, *args: Any, **kwargs: Any) -> None:
        """Compute the gradients of a loss that is already scaled."""
        loss.backward(*args, **kwargs)  # type: ignore[no-untyped-call,unused-ignore]

    @default_hook
    def on_validation_model_zero_grad(self) -> None:
        """Free gradients before a validation inside fit."""
        self.zero_grad()

    @default_hook
    def on_validation_model_eval(self) -> None:
        """Switch to evaluation before validation."""
        self.eval()

    @default_hook
    def on_validation_model_train(self) -> None:
        """Switch back after validation."""
        self.train()

    @default_hook
    def on_test_model_eval(self) -> None:
        """Switch to evaluation before testing."""
        self.eval()

    @default_hook
    def on_test_model_train(self) -> None:
        """Switch back after testing."""
        self.train()

    @default_hook
    def on_predict_model_eval(self) -> None:
        """Switch to evaluation before prediction."""
        self.eval()

    @default_hook
    def on_predict_model_train(self) -> None:
        """Switch back after prediction."""
        self.train()

    def _needs(self, signature: str) -> NoReturn:
        name = signature.partition("(")[0]
        raise NotImplementedError(f"`{type(self).__name__}` has no `{name}` of its own. Define `def {signature}`.")
