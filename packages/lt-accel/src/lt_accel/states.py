"""From objects to what a checkpoint holds of them, and back."""

from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

from lt_interfaces import did_you_mean
from torch import nn

from lt_accel.preparation import uncompiled

Filter = Mapping[str, Callable[[str, Any], bool]]


def collect(state: Mapping[str, Any], keep: Filter | None) -> dict[str, Any]:
    """The `state_dict` of whatever has one, other values as they are; `keep[key](name, value)` picks entries."""
    for key in keep or ():
        if key not in state:
            raise KeyError(f"`filter` has the key {key!r}, which `state` has not. {did_you_mean(key, state)}")
    state = {k: uncompiled(v) for k, v in state.items()}
    plain = {k: v.state_dict() if callable(getattr(v, "state_dict", None)) else v for k, v in state.items()}
    for key, wanted in (keep or {}).items():
        plain[key] = {name: value for name, value in plain[key].items() if wanted(name, value)}
    return plain


def distribute(loaded: dict[str, Any], state: MutableMapping[str, Any], strict: bool, path: str) -> dict[str, Any]:
    """Put what was loaded into the objects of `state`; returns the rest."""
    for key in list(state):
        if key in loaded:
            state[key] = restore(state[key], loaded.pop(key), strict)
        elif strict:
            raise KeyError(
                f"The checkpoint {path!r} has no {key!r}. {did_you_mean(key, loaded)} Or pass `strict=False`."
            )
    return loaded


def restore(target: Any, loaded: Any, strict: bool) -> Any:
    """The target with its state loaded; the loaded value if it has no state."""
    whole, target = target, uncompiled(target)
    if isinstance(target, nn.Module):
        target.load_state_dict(loaded, strict=strict)
    elif callable(getattr(target, "load_state_dict", None)):
        target.load_state_dict(loaded)
    else:
        return loaded
    return whole
