"""Defaults of the trainer's arguments from environment variables."""

import functools
from collections.abc import Callable
from typing import Any

from lt_cli import env_arguments


def with_environment_defaults(init: Callable[..., None]) -> Callable[..., None]:
    """The constructor, each argument that was not given taken from `LT_TRAINER_<ARGUMENT>` if that is set.

    Lightning's `PL_TRAINER_` is read too. Values are Python literals; what is none stays a string.
    """

    @functools.wraps(init)
    def wrapper(self: Any, **kwargs: Any) -> None:
        init(self, **{**env_arguments(type(self)), **kwargs})

    return wrapper
