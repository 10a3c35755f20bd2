"""A callback made of functions."""

from collections.abc import Callable
from typing import Any

from lt_interfaces import CALLBACK_HOOKS, Callback, did_you_mean


class LambdaCallback(Callback):
    """Calls functions at the hooks they are given for: `LambdaCallback(on_fit_start=lambda trainer, module: ...)`."""

    def __init__(self, **hooks: Callable[..., Any] | None) -> None:
        for name, function in hooks.items():
            if name not in CALLBACK_HOOKS:
                raise TypeError(
                    f"`LambdaCallback` got `{name}`, which is no hook. {did_you_mean(name, CALLBACK_HOOKS)}"
                )
            if function is not None:
                setattr(self, name, function)
