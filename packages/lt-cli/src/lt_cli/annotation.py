"""The members of a type annotation, and how they are spelled for people."""

from __future__ import annotations

from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin


def members(hint: Any) -> tuple[Any, ...]:
    """The types of a union, of unions within it as well; one type for anything else, none for None."""
    if get_origin(hint) in (Union, UnionType):
        return tuple(member for part in get_args(hint) for member in members(part))
    return () if hint is None else (hint,)


def spelled(hint: Any) -> str:
    """A type as it is written in code, without its module."""
    if hint is NoneType:
        return "None"
    if get_origin(hint) is None and isinstance(hint, type):
        return hint.__name__
    return str(hint).replace("typing.", "")
