"""The loggers of `lt_loggers`."""

from typing import TYPE_CHECKING

import lt_loggers
from lt_interfaces.lazy_names import lazy_names

if TYPE_CHECKING:
    from lt_loggers import *
else:
    __all__, _resolve, __dir__ = lazy_names(__name__, {"lt_loggers": " ".join(dir(lt_loggers))})

    def __getattr__(name):
        if name in ("NeptuneLogger", "LitLogger"):
            raise ImportError(f"There is no `{name}` in lt. Derive one from `lt.loggers.RemoteLogger`: 20 lines.")
        return _resolve(name)
