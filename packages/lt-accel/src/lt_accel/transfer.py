"""Tensors in any nesting: moved or cast, and the very same object back where nothing had to change."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor

_LEAVES = (str, bytes, int, float, complex, type(None), type)


def to_device(obj: Any, device: torch.device) -> Any:
    """Everything in `obj` that can move, on `device`; copies to a GPU do not wait."""
    non_blocking = device.type == "cuda"

    def move(tensor: Tensor) -> Tensor:
        return tensor if tensor.device == device else tensor.to(device, non_blocking=non_blocking)

    return map_tensors(obj, move, lambda other: other.to(device))


def device_named(device: Any) -> torch.device:
    """torch's device of that name."""
    try:
        return torch.device(device)
    except (RuntimeError, TypeError):
        raise ValueError(f"There is no device {device!r}. Pass a kind of device such as 'cpu' or 'cuda:0'.") from None


def cast_floats(obj: Any, dtype: torch.dtype) -> Any:
    """Floating point tensors in `dtype`, all else as it is; double precision widens complex numbers too."""

    def cast(tensor: Tensor) -> Tensor:
        if tensor.is_complex() and dtype == torch.float64:
            return tensor.to(torch.complex128)
        return tensor.to(dtype) if tensor.is_floating_point() else tensor

    return map_tensors(obj, cast)


def map_tensors(obj: Any, function: Callable[[Tensor], Tensor], other: Callable[[Any], Any] | None = None) -> Any:
    """`function` on each tensor, `other` on each object with a `to` method; containers are rebuilt only if changed."""
    if isinstance(obj, Tensor):
        return function(obj)
    kind = type(obj)
    if kind is tuple or kind is list:
        items = [map_tensors(v, function, other) for v in obj]
        return obj if all(a is b for a, b in zip(items, obj, strict=True)) else kind(items)
    if kind is dict:
        return _mapping(obj, function, other)
    if isinstance(obj, _LEAVES):
        return obj
    if other is not None and callable(getattr(obj, "to", None)):
        return other(obj)
    if isinstance(obj, Mapping):
        return _mapping(obj, function, other)
    if isinstance(obj, (tuple, list)):
        items = [map_tensors(v, function, other) for v in obj]
        if all(a is b for a, b in zip(items, obj, strict=True)):
            return obj
        return kind(*items) if hasattr(obj, "_fields") else kind(items)
    return _dataclass(obj, function, other) if is_dataclass(obj) else obj


def _mapping(obj: Any, function: Callable[[Tensor], Tensor], other: Callable[[Any], Any] | None) -> Any:
    items = {k: map_tensors(v, function, other) for k, v in obj.items()}
    if all(v is obj[k] for k, v in items.items()):
        return obj
    if type(obj) is dict:
        return items
    changed = copy.copy(obj)  # keeps what the class carries besides its items, such as a default factory
    for key, value in items.items():
        changed[key] = value
    return changed


def _dataclass(obj: Any, function: Callable[[Tensor], Tensor], other: Callable[[Any], Any] | None) -> Any:
    values = {f.name: getattr(obj, f.name) for f in fields(obj) if hasattr(obj, f.name)}
    changed = {k: map_tensors(v, function, other) for k, v in values.items()}
    if all(changed[k] is v for k, v in values.items()):
        return obj
    result = copy.copy(obj)
    for key, value in changed.items():
        object.__setattr__(result, key, value)  # frozen ones too
    return result
