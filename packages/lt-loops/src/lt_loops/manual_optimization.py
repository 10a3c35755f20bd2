"""One training batch of a module that steps its optimizers by hand."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from lt_interfaces import MisconfigurationException
from torch import Tensor

from lt_loops.optimization import Optimization, Outputs
from lt_loops.plain_optimizers import needs_closure


class ManualOptimization(Optimization):
    """The module calls `zero_grad`, `manual_backward` and `step`; the trainer counts one step per batch."""

    def __call__(self, batch: Any, batch_idx: int) -> Outputs:
        self.stepped = False
        output = self.training_step(batch, batch_idx)
        self.progress.step += self.stepped
        if output is None:
            return {}
        if isinstance(output, (Tensor, Mapping)):
            return self.outputs(output)
        raise MisconfigurationException(
            f"`training_step` returned a `{type(output).__name__}`. "
            "With manual optimization return None, a tensor or a dict."
        )

    def optimizer_step(self, optimizer: Any, closure: Callable[[], Any] | None = None) -> Any:
        results: list[Any] = []

        def gradients() -> Any:
            with torch.enable_grad():
                results.append(closure() if closure is not None else None)
            return results[-1]

        inner = gradients if closure is not None and needs_closure(optimizer) else None
        if closure is not None and inner is None:
            gradients()
        if self.scales:
            self.engine.unscale_gradients(optimizer)
        self.hooks.on_before_optimizer_step(optimizer)
        if self.engine_step(optimizer, inner):
            self.stepped = True
        return results[0] if results else None

    def gathered(self) -> dict[str, Any]:
        """All gradients there are: whether the module goes on adding to them is its own affair."""
        return {"gradients": self._gradients()}

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """`manual_backward`, scaled where the precision scales."""
        self.hooks.on_before_backward(loss)
        self.run_backward(loss, *args, **kwargs)
        self.hooks.on_after_backward()
