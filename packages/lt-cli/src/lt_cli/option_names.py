"""Names of options and config keys: what exists, and what was probably meant."""

from __future__ import annotations

from collections.abc import Iterable

from lt_interfaces import nearest


def nearest_key(key: str, known: Iterable[str]) -> str | None:
    """The dotted key that was probably meant, found by its last part; the same group wins over another."""
    group, _, name = key.rpartition(".")
    by_name: dict[str, str] = {}
    for candidate in sorted(known, key=lambda k: k.rpartition(".")[0] == group):
        by_name[candidate.rpartition(".")[2]] = candidate
    match = nearest(name, by_name)
    return by_name[match] if match else None
