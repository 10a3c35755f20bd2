"""What installed packages offer, read once: it takes as long as all else of a parser."""

from __future__ import annotations

import sys
from functools import cache
from importlib.metadata import EntryPoint, entry_points


def installed(group: str, name: str | None = None) -> list[EntryPoint]:
    """The entry points of a group, perhaps only those of a name."""
    return [point for point in _read(group, tuple(sys.path)) if name in (None, point.name)]


@cache
def _read(group: str, places: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=group))
