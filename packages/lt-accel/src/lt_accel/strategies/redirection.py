"""Any method of a module as its forward pass, where the hooks that share its work are on the module itself."""

from collections.abc import Callable
from typing import Any

from torch import nn


def run_as_forward(
    inner: nn.Module, outer: nn.Module, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Call `outer` so that `function` runs in place of `inner.forward`, which inside is itself again."""
    before = vars(inner).get("forward")

    def forward(*args: Any, **kwargs: Any) -> Any:
        restore()
        return function(*args, **kwargs)

    def restore() -> None:
        vars(inner).pop("forward", None)
        if before is not None:
            vars(inner)["forward"] = before

    vars(inner)["forward"] = forward
    try:
        return outer(*args, **kwargs)
    finally:
        restore()
