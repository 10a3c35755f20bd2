"""Defaults of the trainer's arguments from environment variables."""

import ast
import functools
import inspect
import os
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T", bound=Callable[..., Any])

PREFIXES = ("LT_TRAINER_", "PL_TRAINER_")


def with_environment_defaults(init: T) -> T:
    """The constructor, each argument that was not given taken from `LT_TRAINER_<ARGUMENT>` if that is set.

    Lightning's `PL_TRAINER_` is read too. Values are Python literals; what is none stays a string.
    """
    names = [n for n, p in inspect.signature(init).parameters.items() if n != "self" and p.kind is p.KEYWORD_ONLY]

    @functools.wraps(init)
    def wrapper(self: Any, **kwargs: Any) -> None:
        for name in names:
            for prefix in PREFIXES:
                value = os.environ.get(prefix + name.upper())
                if value is not None and name not in kwargs:
                    kwargs[name] = _literal(value)
        init(self, **kwargs)

    return wrapper  # type: ignore[return-value]


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text
