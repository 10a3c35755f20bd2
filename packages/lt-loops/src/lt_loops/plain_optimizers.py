"""What may be called of an optimizer without the ways round that torch adds for hooks and profilers."""

from collections.abc import Callable
from typing import Any

import torch
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks


def plain_zero_grad(optimizer: Any) -> bool:
    return (
        isinstance(optimizer, torch.optim.Optimizer)
        and type(optimizer).zero_grad is torch.optim.Optimizer.zero_grad
        and "zero_grad" not in vars(optimizer)
    )


def needs_closure(optimizer: Any) -> bool:
    """True for optimizers such as LBFGS, whose `step` cannot do without."""
    if optimizer is None:
        return False
    step = type(optimizer).step
    step = getattr(step, "__wrapped__", step)
    names = step.__code__.co_varnames[: step.__code__.co_argcount] if hasattr(step, "__code__") else ()
    while hasattr(step, "__wrapped__"):
        step = step.__wrapped__
        names = step.__code__.co_varnames[: step.__code__.co_argcount]
    return "closure" in names and len(step.__defaults__ or ()) == 0


def direct_step(optimizer: Any) -> Callable[[Any], Any] | None:
    """The step without torch's profiler range and hook chains; a third of a small step's time.

    Only where nobody wrapped `step` but torch itself (`Optimizer` for its hooks, a scheduler for its count).
    """
    if not isinstance(optimizer, torch.optim.Optimizer):
        return None
    step = type(optimizer).step
    own = vars(optimizer).get("step")
    if own is not None and not (hasattr(own, "_wrapped_by_lr_sched") and own.__wrapped__ is step):
        return None
    if not getattr(step, "hooked", False):
        return None
    inner: Callable[[Any], Any] | None = getattr(step, "__wrapped__", None)
    return inner


def is_watched(optimizer: Any) -> bool:
    """True while a profiler runs or a step hook is registered: then every step takes torch's long way."""
    return bool(
        optimizer._optimizer_step_pre_hooks
        or optimizer._optimizer_step_post_hooks
        or _global_optimizer_pre_hooks
        or _global_optimizer_post_hooks
        or torch.autograd.profiler._is_profiler_enabled
    )
