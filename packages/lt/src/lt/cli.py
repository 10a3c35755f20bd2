"""The command line, see `lt_cli`."""

from lt_cli import *
from lt_cli import __all__ as __all__
