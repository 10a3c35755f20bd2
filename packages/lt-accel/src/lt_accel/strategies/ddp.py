"""The same module on every rank, gradients averaged: torch's DistributedDataParallel."""

import inspect
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from lt_interfaces import did_you_mean
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from lt_accel.precision import Precision
from lt_accel.registry import StrategyRegistry
from lt_accel.strategies.parallel import ParallelStrategy


class DDPStrategy(ParallelStrategy):
    """Data parallel training; further keywords go to `DistributedDataParallel`."""

    def __init__(
        self,
        *,
        process_group_backend: str | None = None,
        timeout: timedelta | None = timedelta(minutes=30),
        start_method: str = "popen",
        ddp_comm_state: Any = None,
        ddp_comm_hook: Callable[..., Any] | None = None,
        ddp_comm_wrapper: Callable[..., Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(process_group_backend=process_group_backend, timeout=timeout, start_method=start_method)
        known = set(inspect.signature(DistributedDataParallel).parameters) - {"module", "device_ids", "output_device"}
        for name in kwargs:
            if name not in known:
                raise TypeError(f"`DDPStrategy` takes no argument `{name}`. {did_you_mean(name, known)}")
        self._hook = (ddp_comm_state, ddp_comm_hook, ddp_comm_wrapper)
        self._kwargs = kwargs
        self._active: _Shared | None = None
        self._unchecked: list[_Shared] = []
        self._wrapped: list[weakref.ref[_Shared]] = []

    def leave(self) -> None:
        # DDP goes first: if it held the group last, torch would end the group's threads while they wait for the GIL.
        for shared in filter(None, (reference() for reference in self._wrapped)):
            shared.ddp = None
        self._active, self._unchecked, self._wrapped = None, [], []
        super().leave()

    def wrap(self, module: nn.Module, precision: Precision) -> Any:
        if not any(p.requires_grad for p in module.parameters()):
            for tensor in [*module.parameters(), *module.buffers()]:
                dist.broadcast(tensor.detach(), 0)
            return None
        ddp = DistributedDataParallel(_Forward(module), **self._kwargs)
        state, hook, wrapper = self._hook
        if hook is not None:
            ddp.register_comm_hook(state, hook if wrapper is None else wrapper(hook))
        shared = _Shared(module, ddp, self)
        self._wrapped = [r for r in self._wrapped if r() is not None] + [weakref.ref(shared)]
        if not (ddp.find_unused_parameters or ddp.static_graph):
            self._unchecked.append(shared)
        return shared

    def before_backward(self, loss: Tensor) -> None:
        if self._active is not None:
            self._active.prepare(loss)

    def before_step(self) -> None:
        if self._unchecked:
            self._unchecked = [s for s in self._unchecked if not s.has_all_gradients()]

    def no_backward_sync(self, wrapped: Any) -> AbstractContextManager[Any]:
        return nullcontext() if wrapped.ddp is None else wrapped.ddp.no_sync()


class _Forward(nn.Module):
    """What DDP wraps: the user's module, any method of which can be the forward pass."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        ignored = getattr(module, "_ddp_params_and_buffers_to_ignore", ())
        self._ddp_params_and_buffers_to_ignore = [f"module.{name}" for name in ignored]

    def forward(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)


class _Shared:
    """Runs methods of a module so that their gradients are averaged, also if they run backward themselves."""

    def __init__(self, module: nn.Module, ddp: DistributedDataParallel, strategy: DDPStrategy) -> None:
        ignored = getattr(module, "_ddp_params_and_buffers_to_ignore", ())
        self._trained = [(n, p) for n, p in module.named_parameters() if p.requires_grad and n not in ignored]
        self._strategy = strategy
        self._is_prepared = False
        self.ddp: DistributedDataParallel | None = ddp

    def run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """`function` as the forward pass of DDP; directly where no gradients are recorded or the group is left."""
        ddp = self.ddp
        if ddp is None or not torch.is_grad_enabled():
            return function(*args, **kwargs)
        output = ddp(self._inside, function, *args, **kwargs)
        if self._is_prepared:
            self._is_prepared = False
            ddp.require_backward_grad_sync = ddp.require_forward_param_sync = True
        return output

    def _inside(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        strategy = self._strategy
        outer, strategy._active = strategy._active, self
        try:
            output = function(*args, **kwargs)
        finally:
            strategy._active = outer
        if self._is_prepared and self.ddp:  # the gradients are there: DDP must not expect another backward pass
            self.ddp.require_backward_grad_sync = False
        return output

    def prepare(self, loss: Tensor) -> None:
        """Get DDP ready for a backward pass inside the forward pass, as in manual optimization."""
        ddp = self.ddp
        if ddp is not None and ddp.require_backward_grad_sync:
            self._is_prepared = True
            ddp.reducer.prepare_for_backward([loss] if ddp.find_unused_parameters and not ddp.static_graph else [])

    def has_all_gradients(self) -> bool:
        """True once all parameters got gradients; RuntimeError if only some did, since DDP would fail later."""
        missing = [n for n, p in self._trained if p.grad is None]
        shares = self.ddp is not None and self.ddp.require_backward_grad_sync
        if not missing or len(missing) == len(self._trained) or not shares:
            return not missing
        names = ", ".join(f"`{n}`" for n in missing[:5]) + (", ..." if len(missing) > 5 else "")
        raise RuntimeError(
            f"The backward pass gave no gradient to {len(missing)} of {len(self._trained)} parameters ({names}), and "
            "DDP waits for all. Use `strategy='ddp_find_unused_parameters_true'`, or freeze them with "
            "`requires_grad_(False)` before setup."
        )


for _name, _method in (("ddp", "popen"), ("ddp_spawn", "spawn"), ("ddp_fork", "fork"), ("ddp_notebook", "fork")):
    StrategyRegistry.register(
        _name, DDPStrategy, f"DistributedDataParallel, started by {_method}", start_method=_method
    )
    for _flag in (True, False):
        StrategyRegistry.register(
            f"{_name}_find_unused_parameters_{str(_flag).lower()}",
            DDPStrategy,
            f"DistributedDataParallel, started by {_method}, that expects unused parameters: {_flag}",
            start_method=_method,
            find_unused_parameters=_flag,
        )
