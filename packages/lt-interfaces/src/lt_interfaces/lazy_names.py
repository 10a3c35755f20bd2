"""The names of a package, each imported when it is first used, so that what a program does not name costs nothing."""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from lt_interfaces.names import did_you_mean


def lazy_names(
    package: str, homes: Mapping[str, str]
) -> tuple[list[str], Callable[[str], Any], Callable[[], list[str]]]:
    """`__all__`, `__getattr__` and `__dir__` of a package; each name is looked up once.

    `homes` has the names, separated by spaces, under the module they are in: `.loader` is relative to the package, and
    under `.` are modules of the package that are names themselves. Type checkers read a block of imports beside it.
    """
    home_of = {name: home for home, names in homes.items() for name in names.split()}
    public = sorted(home_of)

    def resolve(name: str) -> Any:
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}. {did_you_mean(name, public)}")
        home = home_of[name]
        value = import_module(f".{name}", package) if home == "." else getattr(import_module(home, package), name)
        setattr(sys.modules[package], name, value)
        return value

    return public, resolve, lambda: public
