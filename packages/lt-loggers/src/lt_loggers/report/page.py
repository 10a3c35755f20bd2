"""The HTML of a report: pieces, and the page around them that fetches nothing and runs only its own script."""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from lt_loggers.metrics import printable
from lt_loggers.report.chart import Axis, Line, has_log, is_squeezed, svg
from lt_loggers.report.curve import Point
from lt_loggers.report.naming import is_less_better
from lt_loggers.report.ticks import number_text

MAX_TEXT = 400
REFRESH_SECONDS = 30


def text(value: Any) -> str:
    """Anything as text that is safe within HTML, long ones shortened."""
    shown = printable(str(value))
    return escape(shown if len(shown) <= MAX_TEXT else f"{shown[: MAX_TEXT - 1]}…")


def table(header: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    """A table of cells that are HTML; a cell that starts with `<td` brings its own tag."""
    cells = (_row(cell if cell.startswith("<td") else f"<td>{cell}</td>" for cell in row) for row in rows)
    head = f"<thead>{_row(f'<th>{cell}</th>' for cell in header)}</thead>" if header else ""
    return f'<div class="scroll"><table class="{kind}">{head}<tbody>{"".join(cells)}</tbody></table></div>'


def card(title: str, inside: str) -> str:
    """A titled box; nothing if it would be empty."""
    return f'<section class="card">{f"<h3>{title}</h3>" if title else ""}{inside}</section>' if inside else ""


def tile(title: str, value: str, below: str) -> str:
    """One number to be seen first."""
    return f'<div class="tile"><span>{title}</span><b>{value}</b><span>{below}</span></div>'


def figure(
    title: str, lines: Sequence[Line], axis: Axis, key: int, has_legend: bool = True, tells_best: bool = True
) -> str:
    """A chart with its legend and, where it helps, the switch to a logarithmic scale."""
    shown = lines if has_legend else ()
    items = [f'<li><i class="{line.style}"></i>{text(line.label)}</li>' for line in shown if line.label != title]
    for line in shown if tells_best else ():
        if line.best:
            best = f"best {number_text(line.best.value)} at step {line.best.step:,}"
            items.append(f'<li><i class="ring {line.style}"></i>{best}</li>')
    for line in lines:
        bad = line.curve.first_not_finite
        if bad:
            items.append(f'<li class="failed">{text(line.label)} is {bad.value:g} at step {bad.step:,}</li>')
    drawn = [line for line in lines if line.columns]
    switch = label = ""
    if has_log(drawn) and is_less_better(title) is not False:
        switch = f'<input class="toggle" type="checkbox" id="log{key}"{" checked" * is_squeezed(drawn)}>'
        label = f'<label for="log{key}">log</label>'
    caption = f'<figcaption><h3>{text(title)}</h3><ul class="legend">{"".join(items)}</ul>{label}</figcaption>'
    return f'<figure class="card">{switch}{caption}{svg(drawn, axis, text(title))}</figure>'


def document(title: str, body: str, facts: str = "{}", is_live: bool = False) -> str:
    """The whole page; while a run is live it loads itself again from time to time."""
    style, script = _asset("report.css"), _asset("report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    refresh = f'<meta http-equiv="refresh" content="{REFRESH_SECONDS}">' if is_live else ""
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" '
        f'content="light dark">{refresh}<title>{text(title)}</title><style>{style}</style></head><body>{body}'
        f'<script type="application/json" id="run">{facts}</script><script>{script}</script></body></html>\n'
    )


def duration(seconds: float) -> str:
    """A length of time in its two largest units."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    for size, unit, part_size, part in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} {int(seconds % size // part_size)} {part}"
    raise AssertionError


def moment(seconds: float) -> str:
    """A point in time as the machine's clock shows it."""
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M")


def point_text(point: Point | None) -> str:
    """A value with the step it was at; a dash for none."""
    return f"{number_text(point.value)} <small>{point.step:,}</small>" if point else "-"


def _row(cells: Iterable[str]) -> str:
    return f"<tr>{''.join(cells)}</tr>"


@cache
def _asset(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
