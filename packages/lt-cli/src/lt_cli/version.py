"""Which version of a framework a class belongs to, as saved settings name it."""

from __future__ import annotations

import sys


def version_of(cls: type) -> str | None:
    """`package==version` of the first package with a version, out of the class and its bases; None if none has one."""
    for package in dict.fromkeys(base.__module__.partition(".")[0] for base in cls.__mro__):
        if version := getattr(sys.modules.get(package), "__version__", None):
            return f"{package}=={version}"
    return None
