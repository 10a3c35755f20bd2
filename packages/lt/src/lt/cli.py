"""The command line, see `lt_cli`."""

from typing import TYPE_CHECKING

import lt_cli
from lt_interfaces.lazy_names import lazy_names

if TYPE_CHECKING:
    from lt_cli import *
else:
    __all__, __getattr__, __dir__ = lazy_names(__name__, {"lt_cli": " ".join(dir(lt_cli))})
