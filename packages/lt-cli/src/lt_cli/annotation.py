"""The members of a type annotation, and how they are spelled for people."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin


def members(hint: Any) -> tuple[Any, ...]:
    """The types of a union, of unions within it as well; one type for anything else, none for None."""
    if get_origin(hint) in (Union, UnionType):
        return tuple(member for part in get_args(hint) for member in members(part))
    return () if hint is None else (hint,)


def spelled(hint: Any) -> str:
    """A type as it is written in code, without its module; the values of a `Literal`."""
    if get_origin(hint) is Literal:
        return " or ".join(repr(value) for value in get_args(hint))
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
        elif inspect.isclass(hint) and hint.__module__ != "builtins":
            if not inspect.isabstract(hint):
                yield hint.__name__
            yield from class_names(tuple(hint.__subclasses__()))
