"""Profilers: where the time of a run goes."""

from lt_loops.profilers import *
from lt_loops.profilers import __all__ as __all__
