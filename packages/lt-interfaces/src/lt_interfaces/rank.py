"""Messages once per job: the `lt` logger, and calls that act on rank zero alone."""

import functools
import logging
import os
import warnings
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger("lt")


def _rank() -> int:
    for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK"):
        if os.environ.get(name, "").isdecimal():
            return int(os.environ[name])
    return 0


def rank_zero_only(function: Callable[P, T]) -> Callable[P, T | None]:
    """The function as it acts on rank zero; other ranks get None without a call."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T | None:
        return function(*args, **kwargs) if _rank() == 0 else None

    return wrapper


@rank_zero_only
def rank_zero_info(message: str) -> None:
    """Log a line for people at level INFO."""
    log.info(message)


@rank_zero_only
def rank_zero_warn(message: str, category: type[Warning] = UserWarning, stacklevel: int = 4) -> None:
    """Warn about something the reader can act on."""
    warnings.warn(message, category, stacklevel=stacklevel)
