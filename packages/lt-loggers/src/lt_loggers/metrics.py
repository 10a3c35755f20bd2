"""Metrics as they arrive, made plain: numbers under names that are safe to show."""

import re
import reprlib
from collections.abc import Callable, Mapping
from typing import Any


class Names(dict[str, str]):
    """Each metric's name as it is written, with the prefix; worked out once per name."""

    def __init__(self, prefix: str, safe: Callable[[str], str]) -> None:
        super().__init__()
        self._prefix = f"{prefix}-" if prefix else ""
        self._safe = safe

    def __missing__(self, name: str) -> str:
        if not isinstance(name, str):
            raise TypeError(f"A metric's name must be a string, got {name!r}. Use `str({name!r})`.")
        self[name] = written = self._safe(self._prefix + name)
        return written


def flat_numbers(metrics: Mapping[str, Any], names: Names) -> dict[str, float]:
    """The record as plain numbers under their written names; a nested mapping becomes `name/key`."""
    row: dict[str, float] = {}
    for name, value in metrics.items():
        if type(value) is float:
            row[names[name]] = value
        elif isinstance(value, Mapping):
            row.update({names[f"{name}/{key}"]: number(name, item) for key, item in value.items()})
        else:
            row[names[name]] = number(name, value)
    return row


def number(name: str, value: Any) -> float:
    """The value as a Python number; reads one-element tensors and arrays, which waits for their device."""
    if isinstance(value, int | float):
        return int(value) if isinstance(value, bool) else value
    read = getattr(value, "item", None) or getattr(value, "__float__", None)
    try:
        result = read() if read else None
    except (TypeError, ValueError, RuntimeError):
        result = None
    if isinstance(result, int | float):
        return int(result) if isinstance(result, bool) else result
    raise TypeError(
        f"Metric `{name}` must be one number, got {reprlib.repr(value)}. Reduce it first, e.g. to its mean."
    )


def printable(text: str) -> str:
    """The text with control characters, newlines and marks that reorder it escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def column_name(name: str) -> str:
    """A name that a spreadsheet shows and does not run."""
    name = printable(name)
    return f"'{name}" if name.startswith(("=", "+", "-", "@")) else name


def folder_name(name: str) -> str:
    """A name that can end a folder's name and not lead elsewhere."""
    return re.sub(r"[/\\]", "_", printable(name))


def in_counting_order(name: str) -> list[str | int]:
    """What to sort names by so that `loss_10` comes after `loss_9`."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]
