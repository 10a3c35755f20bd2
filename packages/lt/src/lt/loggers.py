"""The loggers of `lt_loggers`."""

from typing import NoReturn

from lt_loggers import *
from lt_loggers import __all__ as __all__


def __getattr__(name: str) -> NoReturn:
    if name in ("NeptuneLogger", "LitLogger"):
        raise ImportError(f"There is no `{name}` in lt. Derive one from `lt.loggers.RemoteLogger`: 20 lines.")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
