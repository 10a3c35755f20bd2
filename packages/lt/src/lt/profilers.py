"""Profilers: where the time of a run goes."""

from typing import TYPE_CHECKING

from lt_interfaces.lazy_names import lazy_names
from lt_loops import profilers

if TYPE_CHECKING:
    from lt_loops.profilers import *
else:
    __all__, __getattr__, __dir__ = lazy_names(__name__, {"lt_loops.profilers": " ".join(dir(profilers))})
