"""The callbacks of `lt_callbacks`."""

from lt_callbacks import *
from lt_callbacks import __all__ as __all__
