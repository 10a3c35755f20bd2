"""The loggers of `lt_loggers`."""

from lt_loggers import *
from lt_loggers import __all__ as __all__
