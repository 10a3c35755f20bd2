"""The same module on every rank, gradients averaged: torch's DistributedDataParallel."""

import copy
import inspect
import re
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from lt_interfaces import MisconfigurationException, did_you_mean
from torch import Tensor, nn
from torch.distributed.algorithms.ddp_comm_hooks.post_localSGD_hook import PostLocalSGDState
from torch.distributed.algorithms.model_averaging.averagers import PeriodicModelAverager
from torch.nn.parallel import DistributedDataParallel

from lt_accel.precision import Precision
from lt_accel.strategies.parallel import ParallelStrategy
from lt_accel.strategies.redirection import run_as_forward

_COMPRESSED = {"fp16_compress": torch.float16, "bf16_compress": torch.bfloat16}
_ELSEWHERE = {"parallel_devices": "devices", "precision": "precision", "precision_plugin": "precision"} | {
    "accelerator": "accelerator",
    "cluster_environment": "plugins",
    "checkpoint_io": "plugins",
}
"""Where the trainer or Fabric takes what Lightning's class takes."""


class DDPStrategy(ParallelStrategy):
    """Data parallel training; further keywords go to `DistributedDataParallel`.

    `ddp_comm_hook`, one of torch's `ddp_comm_hooks`, says how gradients are exchanged, with `ddp_comm_state` as its
    first argument; `ddp_comm_wrapper` is applied to it. With `post_localSGD_hook`, weights are averaged over the ranks
    every `model_averaging_period` steps once its `start_localSGD_iter` is past; in between they differ.
    """

    def __init__(
        self,
        *,
        process_group_backend: str | None = None,
        timeout: timedelta | None = timedelta(minutes=30),
        start_method: str = "popen",
        ddp_comm_state: Any = None,
        ddp_comm_hook: Callable[..., Any] | None = None,
        ddp_comm_wrapper: Callable[..., Any] | None = None,
        model_averaging_period: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(process_group_backend=process_group_backend, timeout=timeout, start_method=start_method)
        own = {"device_ids", "output_device"}
        kwargs = {name: v for name, v in kwargs.items() if name not in own or v is not None}  # torch's defaults
        known = set(inspect.signature(DistributedDataParallel).parameters) - {"module", *own}
        for name in kwargs:
            if name not in known:
                there = _ELSEWHERE.get(name)
                told = f"Pass it to Fabric or the trainer, as `{there}=`." if there else did_you_mean(name, known)
                raise TypeError(f"`DDPStrategy` takes no argument `{name}`. {told}")
        _check_averaging(model_averaging_period, ddp_comm_state)
        self._hook = (ddp_comm_state, ddp_comm_hook, ddp_comm_wrapper)
        self._period = model_averaging_period
        self._averagers: dict[int, PeriodicModelAverager] = {}
        self._kwargs = kwargs
        self._active: _Shared | None = None
        self._unchecked: list[_Shared] = []
        self._wrapped: list[weakref.ref[_Shared]] = []

    def leave(self) -> None:
        # DDP goes first: if it held the group last, torch would end the group's threads while they wait for the GIL.
        for shared in filter(None, (reference() for reference in self._wrapped)):
            shared.ddp = None
        self._active, self._unchecked, self._wrapped, self._averagers = None, [], [], {}
        super().leave()

    def dtypes(self, precision: Precision) -> tuple[torch.dtype, torch.dtype | None]:
        names = [getattr(given, "__name__", "") for given in self._hook[1:]]
        compressed = [dtype for name in names for prefix, dtype in _COMPRESSED.items() if name.startswith(prefix)]
        return precision.compute_dtype, (compressed or [precision.param_dtype])[0]

    def inner(self, module: nn.Module) -> nn.Module:
        return module.module if isinstance(module, DistributedDataParallel) else module

    def wrap(self, module: nn.Module, precision: Precision) -> Any:
        if isinstance(module, DistributedDataParallel):
            return self._shared(module.module, module)
        if any(type(p).__name__ == "DTensor" for p in module.parameters()):
            raise MisconfigurationException(
                f"The parameters of `{type(module).__name__}` are distributed already, which DDP cannot copy. Use "
                "`strategy='fsdp'`, which takes a module as `fully_shard` made it."
            )
        if not any(p.requires_grad for p in module.parameters()):
            for tensor in [*module.parameters(), *module.buffers()]:
                dist.broadcast(tensor.detach(), 0)
            return None
        ddp = DistributedDataParallel(_Forward(module), **self._kwargs)
        state, hook, wrapper = self._hook
        if hook is not None:
            ddp.register_comm_hook(state, hook if wrapper is None else wrapper(hook))
        return self._shared(module, ddp)

    def _shared(self, module: nn.Module, ddp: DistributedDataParallel) -> "_Shared":
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

    def after_step(self, optimizer: Any) -> None:
        if self._period is None:
            return
        if id(optimizer) not in self._averagers:
            start = self._hook[0].start_localSGD_iter
            self._averagers[id(optimizer)] = PeriodicModelAverager(self._period, warmup_steps=start)
        self._averagers[id(optimizer)].average_parameters(optimizer.param_groups)

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

    def __init__(self, module: nn.Module, ddp: DistributedDataParallel | None, strategy: DDPStrategy) -> None:
        ignored = getattr(module, "_ddp_params_and_buffers_to_ignore", ())
        self._module = module
        self._trained = [(n, p) for n, p in module.named_parameters() if p.requires_grad and n not in ignored]
        self._strategy = strategy
        self._is_prepared = False
        self.ddp = ddp

    def run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """`function` as the forward pass of DDP; directly where no gradients are recorded or the group is left."""
        ddp = self.ddp
        if ddp is None or not torch.is_grad_enabled():
            return function(*args, **kwargs)
        try:
            if type(ddp.module) is _Forward:
                output = ddp(self._inside, function, *args, **kwargs)
            else:  # somebody else wrapped the module
                inside = partial(self._inside, function)
                output = run_as_forward(ddp.module, ddp, inside, args, kwargs)
        except RuntimeError as error:
            told = self._explained(error)
            if told is None:
                raise
            raise RuntimeError(told) from error
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

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Shared":
        module, ddp = copy.deepcopy((self._module, self.ddp), memo)
        strategy = self._strategy
        made = memo[id(self)] = _Shared(module, None, strategy) if ddp is None else strategy._shared(module, ddp)
        return made

    def has_all_gradients(self) -> bool:
        """True once all parameters got gradients; RuntimeError if only some did, since DDP would fail later."""
        missing = [n for n, p in self._trained if p.grad is None]
        shares = self.ddp is not None and self.ddp.require_backward_grad_sync
        if not missing or len(missing) == len(self._trained) or not shares:
            return not missing
        raise RuntimeError(self._without_gradient(missing))

    def _explained(self, error: RuntimeError) -> str | None:
        """The error with names, if it is torch's of a step whose graph was not the one before."""
        found = re.search(r"did not receive grad for rank \d+: ([\d ]+)", str(error))
        return found and self._without_gradient([self._trained[int(i)][0] for i in found[1].split()])

    def _without_gradient(self, missing: list[str]) -> str:
        names = ", ".join(f"`{n}`" for n in missing[:5]) + (", ..." if len(missing) > 5 else "")
        fact = f"The backward pass gave no gradient to {len(missing)} of {len(self._trained)} parameters ({names})"
        if self.ddp is not None and self.ddp.static_graph:
            return f"{fact}, unlike the first, and `static_graph=True` promised that all are alike. Leave it out."
        return (
            f"{fact}, and DDP waits for all. Use `strategy='ddp_find_unused_parameters_true'`, or freeze them with "
            "`requires_grad_(False)` before setup."
        )


def _check_averaging(period: int | None, state: Any) -> None:
    if (period is None) == isinstance(state, PostLocalSGDState):
        raise ValueError(
            f"`model_averaging_period={period!r}` does not go with `ddp_comm_state={state!r}`. For local steps pass "
            "both: a period of at least 1, and a `PostLocalSGDState` with `ddp_comm_hook=post_localSGD_hook`."
        )
    if period is not None and period < 1:
        raise ValueError(f"`model_averaging_period` must be at least 1, got {period!r}. Pass a number of steps.")
