"""Classes that lt's packages import when they are first named; on a command line and in a file their name is text."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection
from typing import Any

from lt_cli.annotation import class_names
from lt_cli.failures import packages_of_lt


def import_named_in(text: str) -> None:
    """Import the classes that the text names, so that they are found by their name alone."""
    _import({*re.findall(r"\w+", text)})


def all_class_names(types: tuple[Any, ...]) -> list[str]:
    """The names of all classes that an option takes, imported or not, to find the one that was meant."""
    _import(None)
    return sorted({*class_names(types)})


def _import(wanted: Collection[str] | None) -> None:
    for name, module in list(sys.modules.items()):
        if packages_of_lt([name.partition(".")[0]]):
            for public in getattr(module, "__all__", ()):
                if public[0].isupper() and (wanted is None or public in wanted):
                    getattr(module, public)
