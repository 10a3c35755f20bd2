"""A method of a set-up module as a loop calls it: in the engine's precision, its gradients shared."""

import functools
from collections.abc import Callable
from typing import Any

from lt_accel.wrappers import FabricModule

_EVALUATION = frozenset({"validation_step", "test_step", "predict_step"})


def bound(module: Any, wrapper: FabricModule | None, method: str, strategy: Any, precision: Any) -> Callable[..., Any]:
    """The bare bound method if there is nothing to be done around it."""
    if wrapper is None:
        if strategy.distributed and method not in _EVALUATION:
            raise RuntimeError(
                f"`bind(..., {method!r})` was given a module that is not set up. Keep what `setup_module` returned."
            )
        function = getattr(module, method)
    else:
        function = _method(wrapper, method)
        if wrapper._wrapped is not None and (method not in _EVALUATION or strategy.shards_modules):
            function = _shared(wrapper._wrapped, function)
    run: Callable[..., Any] = precision.bind(function)
    return run


def _method(wrapper: FabricModule, name: str) -> Callable[..., Any]:
    """The user's method; compiled as the module was, if it was."""
    compiled = wrapper._compiled
    if compiled is wrapper.module or name in ("__call__", "forward"):
        return getattr(compiled, name)  # type: ignore[no-any-return]
    return compiled.dynamo_ctx(getattr(wrapper.module, name))  # type: ignore[no-any-return]


def _shared(wrapped: Any, function: Callable[..., Any]) -> Callable[..., Any]:
    run = wrapped.run

    @functools.wraps(function)
    def shared(*args: Any, **kwargs: Any) -> Any:
        return run(function, *args, **kwargs)

    return shared
