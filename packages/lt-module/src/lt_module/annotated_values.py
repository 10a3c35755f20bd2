"""Plain values, as files hold them, in the types that a function's annotations ask for."""

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from datetime import timedelta
from enum import Enum
from pathlib import PurePath
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints


def annotations(function: Callable[..., Any]) -> dict[str, Any]:
    """The types of a function's arguments; empty where they cannot be told."""
    try:
        return get_type_hints(function)
    except (NameError, TypeError, AttributeError):
        return {}


def annotated(value: Any, kind: Any) -> Any:
    """An enum's member of this value, a dataclass of these fields, a path, a duration; else the value as it is.

    Also inside lists, tuples, dicts and unions. The types are those of the caller's code; a file brings values only.
    """
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return value if any(_is_one(value, one) for one in inner) else _first_changed(value, inner)
    if origin in (list, tuple) and isinstance(value, (list, tuple)) and inner:
        kinds = inner if origin is tuple and inner[-1] is not Ellipsis else inner[:1] * len(value)
        return type(value)(map(annotated, value, kinds)) if len(kinds) == len(value) else value
    if origin is dict and isinstance(value, dict) and inner:
        return {k: annotated(v, inner[1]) for k, v in value.items()}
    if not isinstance(kind, type) or isinstance(value, kind):
        return value
    if issubclass(kind, Enum):
        return next((member for member in kind if member.value == value), value)
    if is_dataclass(kind) and isinstance(value, Mapping):
        kinds_of = annotations(kind.__init__)
        known = {f.name for f in fields(kind) if f.init}
        return kind(**{k: annotated(v, kinds_of.get(k)) for k, v in value.items()}) if known >= set(value) else value
    if issubclass(kind, PurePath) and isinstance(value, str):
        return kind(value)
    if kind is timedelta and isinstance(value, (int, float)):
        return timedelta(seconds=value)
    return value


def _is_one(value: Any, kind: Any) -> bool:
    plain = get_origin(kind) or kind
    return isinstance(plain, type) and isinstance(value, plain)


def _first_changed(value: Any, kinds: tuple[Any, ...]) -> Any:
    made = (annotated(value, kind) for kind in kinds)
    return next((one for one in made if one is not value), value)
