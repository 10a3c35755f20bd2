"""A Fabric's part in a training step: backward, clipping, the optimizer's step."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from torch import Tensor

from lt_accel.precision import Precision
from lt_accel.strategies import Strategy
from lt_accel.wrappers import FabricModule, FabricOptimizer

_NOTHING = nullcontext()


class Steps:
    """What of a `Fabric` runs in every step."""

    strategy: Strategy
    precision: Precision

    def _wrapper(self, module: Any) -> FabricModule | None:
        raise NotImplementedError

    def backward(self, tensor: Tensor, *args: Any, model: Any = None, **kwargs: Any) -> None:
        """Gradients of a loss, scaled where the precision scales."""
        self.scale_loss(tensor).backward(*args, **kwargs)  # type: ignore[no-untyped-call]

    def scale_loss(self, loss: Tensor) -> Tensor:
        """The loss as backward must see it; call it right before, and only if you call `loss.backward` yourself."""
        self.strategy.before_backward(loss)
        return self.precision.scale(loss)

    def unscale_gradients(self, optimizer: Any) -> None:
        """Gradients in true size, once per step; nothing to do without a scaler."""
        self.precision.unscale_gradients(_bare(optimizer))

    def optimizer_step(self, optimizer: Any, closure: Callable[[], Any] | None = None) -> bool:
        """Step; False if the scaler found infinite gradients and skipped it."""
        self.strategy.before_step()
        bare = _bare(optimizer)
        stepped = self.precision.optimizer_step(bare, closure)
        self.strategy.after_step(bare)
        return stepped

    def clip_gradients(
        self,
        module: Any,
        optimizer: Any,
        clip_val: float | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        error_if_nonfinite: bool = False,
    ) -> Any:
        """Clip the optimizer's gradients by value or by total norm; returns the norm before, None for a value.

        `error_if_nonfinite` waits for the GPU. With a scaler, infinite gradients are ordinary: the step is left out.
        """
        if (clip_val is None) == (max_norm is None):
            raise ValueError(
                f"`clip_gradients` clips by one of two, got `clip_val={clip_val!r}`, `max_norm={max_norm!r}`. Pass one."
            )
        limit: Any = clip_val if max_norm is None else max_norm
        if isinstance(limit, str) or not limit >= 0:
            raise ValueError(f"Gradients are clipped to a number that is not negative, got {limit!r}. Pass e.g. 1.0.")
        optimizer = _bare(optimizer)
        self.precision.unscale_gradients(optimizer)
        params = [p for group in optimizer.param_groups for p in group["params"]] if optimizer else module.parameters()
        if max_norm is not None:
            return self.strategy.clip_norm(list(params), max_norm, norm_type, error_if_nonfinite)
        self.strategy.clip_value(list(params), clip_val)  # type: ignore[arg-type]
        return None

    def no_backward_sync(self, module: Any, enabled: bool = True) -> AbstractContextManager[Any]:
        """Backward passes inside do not share gradients; those of FSDP do unless `keeps_whole_gradients`."""
        wrapper = self._wrapper(module)
        if wrapper is None and self.strategy.distributed:
            raise TypeError(f"`no_backward_sync` was given a `{type(module).__name__}`. Pass what `setup` returned.")
        if not enabled or wrapper is None or wrapper._wrapped is None:
            return _NOTHING
        return self.strategy.no_backward_sync(wrapper._wrapped)

    def autocast(self) -> AbstractContextManager[Any]:
        """The context of the precision's forward passes, for what runs outside the module."""
        return self.precision.forward_context()


def _bare(optimizer: Any) -> Any:
    return optimizer.optimizer if isinstance(optimizer, FabricOptimizer) else optimizer
