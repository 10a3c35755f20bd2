"""The callbacks of `lt_callbacks`."""

from typing import TYPE_CHECKING

import lt_callbacks
from lt_interfaces.lazy_names import lazy_names

if TYPE_CHECKING:
    from lt_callbacks import *
else:
    __all__, __getattr__, __dir__ = lazy_names(__name__, {"lt_callbacks": " ".join(dir(lt_callbacks))})
