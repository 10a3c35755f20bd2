"""The members of a type annotation, and how they are spelled for people."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from enum import Enum
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin


def members(hint: Any) -> tuple[Any, ...]:
    """The types of a union, of unions within it as well; one type for anything else, none for None."""
    if get_origin(hint) in (Union, UnionType):
        return tuple(member for part in get_args(hint) for member in members(part))
    return () if hint is None else (hint,)


def choices(hint: Any) -> list[Any]:
    """The values of a `Literal`, the names of an `Enum`; none for other types."""
    if get_origin(hint) is Literal:
        return list(get_args(hint))
    return [member.name for member in hint] if inspect.isclass(hint) and issubclass(hint, Enum) else []


def named_member(types: tuple[Any, ...], value: Any) -> Any:
    """The name of the enum's member with this value, for an option that takes an enum; else the value itself."""
    enums = (hint for hint in types if inspect.isclass(hint) and issubclass(hint, Enum))
    return next((member.name for hint in enums for member in hint if member.value == value), value)


def spelled(hint: Any) -> str:
    """A type as it is written in code, without its module; what there is to choose from, if it says that."""
    if chosen := choices(hint):
        return " or ".join(repr(value) for value in chosen)
    if hint is NoneType:
        return "None"
    if get_origin(hint) is None and isinstance(hint, type):
        return hint.__name__
    return str(hint).replace("typing.", "")


def class_names(hints: tuple[Any, ...]) -> Iterator[str]:
    """The names of the classes that an annotation admits, of those imported; none for plain types."""
    for hint in hints:
        if get_args(hint):
            yield from class_names(tuple(m for arg in get_args(hint) for m in members(arg)))
        elif inspect.isclass(hint) and hint.__module__ not in ("builtins", "typing"):
            if not inspect.isabstract(hint):
                yield hint.__name__
            yield from class_names(tuple(hint.__subclasses__()))
