"""Defaults of the trainer's arguments from environment variables."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import lt_cli


def with_environment_defaults(init: Callable[..., None]) -> Callable[..., None]:
    """The constructor, each argument that was not given taken from `LT_TRAINER_<ARGUMENT>` if that is set.

    Lightning's `PL_TRAINER_` is read too. Values are Python literals; what is none stays a string. The signature shows
    the named arguments alone: what `**` takes is no offer to argparse, to a command line or to completion.
    """
    signature = inspect.signature(init)
    named = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]

    @functools.wraps(init)
    def wrapper(self: Any, **kwargs: Any) -> None:
        init(self, **{**lt_cli.env_arguments(type(self)), **kwargs})

    wrapper.__signature__ = signature.replace(parameters=named)  # type: ignore[attr-defined]
    return wrapper
