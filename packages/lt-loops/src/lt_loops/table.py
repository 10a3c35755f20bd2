"""Results as a small table of plain characters."""

from collections.abc import Mapping, Sequence
from typing import Any


def results_table(title: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """A line per metric, a column per loader."""
    names = sorted({name for row in rows for name in row})
    strip = [f"/dataloader_idx_{i}" for i in range(len(rows))]
    cells: dict[str, list[str]] = {}
    for i, row in enumerate(rows):
        for name in names:
            if name in row:
                cells.setdefault(name.removesuffix(strip[i]), [""] * len(rows))[i] = f"{float(row[name]):.6g}"
    head = [title] + ([f"loader {i}" for i in range(len(rows))] if len(rows) > 1 else ["value"])
    lines = [head] + [[name, *values] for name, values in cells.items()]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    text = ["  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines]
    rule = "-" * max(map(len, text))
    return "\n".join([rule, text[0], rule, *text[1:], rule])
