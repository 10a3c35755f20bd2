"""One training batch: what stepping by itself and by the module's own hand have in common."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from lt_interfaces import MisconfigurationException, is_overridden
from torch import Tensor

from lt_loops.hooks import trimmed
from lt_loops.optimizers import LightningOptimizer
from lt_loops.snapshot import local_part

Outputs = dict[str, Any]


class Optimization:
    """What automatic and manual optimization share: the optimizers, the step itself and the hooks around it."""

    def __init__(self, trainer: Any, module: Any, optimizers: list[Any]) -> None:
        self.trainer, self.module = trainer, module
        self.engine, self.hooks, self.progress = trainer.engine, trainer.hooks, trainer.progress
        self.scales = trainer.engine.scaler is not None
        self.stepped = False
        step = trimmed(trainer.engine.bind(trainer.model, "training_step"), 2)
        self.training_step = trainer.clock.strategy("training_step", step)
        run_backward = self._own_backward if is_overridden(module, "backward") else self.engine.backward
        self.run_backward = trainer.clock.strategy("backward", run_backward)
        self.engine_step = trainer.clock.strategy("optimizer_step", self.engine.optimizer_step)
        self.optimizers = [LightningOptimizer(o, self.optimizer_step) for o in optimizers]
        self.logs_returns = not hasattr(module, "log")

    def optimizer_step(self, optimizer: Any, closure: Callable[[], Any] | None = None) -> Any:
        """Step through the engine, and remember that it happened."""
        raise NotImplementedError

    def _own_backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        self.module.backward(self.engine.scale_loss(loss), *args, **kwargs)

    def refresh(self) -> None:
        """Look again at what hooks may have changed on the optimizer; once an epoch and after validation."""

    def finish_window(self) -> None:
        """The data ended; step what an open accumulation window has gathered."""

    def gathered(self) -> dict[str, Any]:
        """What an open accumulation window has gathered so far, to be saved; empty if none is open."""
        return {}

    def continue_window(self, gathered: dict[str, Any]) -> None:
        """Go on inside a saved window."""
        parameters = dict(self.module.named_parameters())
        for name, gradient in gathered.get("gradients", {}).items():
            p = parameters.get(name)
            if p is None:  # pruned now, and not when this was saved
                continue
            p.grad = torch.zeros_like(p)
            local_part(p.grad).copy_(gradient)

    def _gradients(self) -> dict[str, Tensor]:
        return {n: local_part(p.grad) for n, p in self.module.named_parameters() if p.grad is not None}

    def loss_of(self, output: Any) -> Tensor | None:
        """The loss in what `training_step` returned."""
        if isinstance(output, Tensor):
            loss = output
        elif isinstance(output, Mapping) and isinstance(output.get("loss"), Tensor):
            loss = output["loss"]
        elif output is None:
            return None
        else:
            keys = f" with the keys {sorted(output)}" if isinstance(output, Mapping) else ""
            raise MisconfigurationException(
                f"`training_step` returned a `{type(output).__name__}`{keys}. "
                "Return the loss as a tensor, a dict with the tensor under `loss`, or None to skip the batch."
            )
        return loss

    def outputs(self, output: Any) -> Outputs:
        """What the batch hooks see: the loss as the step returned it, detached, and whatever came with it."""
        if isinstance(output, Tensor):
            return {"loss": output.detach()}
        if isinstance(output, Mapping):
            return {k: v.detach() if k == "loss" and isinstance(v, Tensor) else v for k, v in output.items()}
        return {}

    def log_returned(self, output: Any) -> None:
        """For modules without `log`: the numbers that the step returned are its log."""
        values = output if isinstance(output, Mapping) else {"loss": output}
        for name, value in values.items():
            if isinstance(value, (int, float)) or (isinstance(value, Tensor) and value.numel() == 1):
                self.trainer.recorder.log(name, value, prog_bar=name == "loss")
