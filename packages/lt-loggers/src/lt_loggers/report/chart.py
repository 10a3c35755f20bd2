"""Curves as an SVG picture, on a linear scale and, where it helps, on a logarithmic one beside it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise

from lt_loggers.report.curve import Column, Curve, Point
from lt_loggers.report.ticks import linear_ticks, log_texts, log_ticks, tick_texts, whole_ticks

WIDTH, TOP, HEIGHT, RIGHT = 600, 10, 216, 16
ROW = 22  # of labels below the axis
COLORS = 7
DOTTED_UP_TO = 48  # points of a curve that are few enough to be shown one by one


@dataclass(kw_only=True, slots=True)
class Line:
    """A curve with what tells it from the others of its chart."""

    label: str
    curve: Curve
    color: int = 0
    is_faint: bool = False
    best: Point | None = None
    columns: list[Column] = field(default_factory=list)

    @property
    def style(self) -> str:
        """Classes of the style sheet."""
        return f"c{self.color % COLORS}" + " faint" * self.is_faint + " dashed" * (self.color >= COLORS)


@dataclass(kw_only=True, slots=True)
class Axis:
    """The steps that all charts of a report share, and how many epochs were done at which of them."""

    first: int
    last: int
    epochs: Mapping[int, int] = field(default_factory=dict)

    def place(self, step: float, left: float) -> float:
        """Pixels from the left for a step."""
        return left + (step - self.first) / max(1, self.last - self.first) * (WIDTH - RIGHT - left)


def svg(lines: Sequence[Line], axis: Axis, title: str) -> str:
    """The picture of curves that have `columns`."""
    columns = [column for line in lines for column in line.columns]
    ticks = linear_ticks(min(column.low for column in columns), max(column.high for column in columns))
    scales = [("lin", ticks, tick_texts(ticks), ticks[0], ticks[-1])]
    if has_log(lines):
        low, high = min(c.mean for c in columns if c.mean > 0) / 1.3, max(c.high for c in columns) * 1.15
        marks = log_ticks(low, high)
        scales.append(("log", marks, log_texts(marks), low, high))
    left = max(54.0, 14 + 6.2 * max(len(text) for scale in scales for text in scale[2]))
    height = TOP + HEIGHT + ROW * (2 if axis.epochs else 1) + 6
    parts = [
        f'<svg class="chart" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{title}" '
        f'data-x="{axis.first} {axis.last}" data-box="{left:g} {TOP} {WIDTH - RIGHT - left:g} {HEIGHT}">'
    ]
    for name, values, texts, low, high in scales:
        at = _height_on(name, low, high)
        parts.append(f'<g class="{name}" data-y="{low:.6g} {high:.6g}">')
        parts += _rows(zip(values, texts, strict=True), at, left)
        parts += [_drawn(line, axis, at, left, name) for line in lines]
        for line in lines:
            if line.best and (name == "lin" or line.best.value > 0):
                parts.append(_ring(line.best, line.color, axis, at, left))
        parts.append("</g>")
    return "".join([*parts, *_steps(axis, left), *_failures(lines, axis, left), "</svg>"])


def has_log(lines: Sequence[Line]) -> bool:
    """True if the values are positive and span a power of ten or more."""
    columns = [column for line in lines for column in line.columns]
    low = min((column.mean for column in columns if column.mean > 0), default=0.0)
    return min(column.low for column in columns) >= 0 and low > 1e-290 and max(c.high for c in columns) > 10 * low


def is_squeezed(lines: Sequence[Line]) -> bool:
    """True if a linear scale flattens most values at its bottom, and a logarithmic one shows more than their noise."""
    values = sorted(column.mean for line in lines for column in line.columns)
    if not has_log(lines) or values[len(values) * 3 // 4] > values[-1] / 10:
        return False
    logs = [[math.log(column.mean) for column in line.columns if column.mean > 0] for line in lines]
    span = max(map(max, filter(None, logs))) - min(map(min, filter(None, logs)))
    return all(sum(abs(b - a) for a, b in pairwise(line)) < 0.15 * span * len(line) for line in logs)


def _height_on(scale: str, low: float, high: float) -> Callable[[float], float]:
    if scale == "lin":
        return lambda value: TOP + HEIGHT * (high - value) / (high - low)
    bottom, span = math.log(low), math.log(high) - math.log(low)
    return lambda value: TOP + HEIGHT * (1 - (math.log(max(value, low)) - bottom) / span)


def _drawn(line: Line, axis: Axis, height: Callable[[float], float], left: float, scale: str) -> str:
    places = [(axis.place(c.step, left), c) for c in line.columns if scale == "lin" or c.mean > 0]
    points = [f"{x:.1f},{height(c.mean):.1f}" for x, c in places]
    if not points:
        return ""
    band = ""
    if any(c.low < c.high for c in line.columns):
        upper = [f"{x:.1f},{height(c.high):.1f}" for x, c in places]
        lower = [f"{x:.1f},{height(c.low):.1f}" for x, c in reversed(places)]
        band = f'<path class="band {line.style}" d="M{"L".join(upper + lower)}Z"/>'
    data = ""
    if scale == "lin":
        values = " ".join(f"{c.step}:{c.mean:.4g}" for c in line.columns)
        data = f' data-label="{escape(line.label)}" data-points="{values}"'
    drawn = f'{band}<path class="line {line.style}" d="M{"L".join(points)}"{data}/>'
    if len(points) <= DOTTED_UP_TO and not band and not line.is_faint:
        kind = "dots single" if len(points) == 1 else "dots"
        drawn += f'<path class="{kind} {line.style}" d="{"".join(f"M{point}h0" for point in points)}"/>'
    return drawn


def _ring(best: Point, color: int, axis: Axis, height: Callable[[float], float], left: float) -> str:
    x, y, style = axis.place(best.step, left), height(best.value), f"c{color % COLORS}"
    return (
        f'<path class="drop {style}" d="M{x:.1f},{y + 5:.1f}V{TOP + HEIGHT}"/>'
        f'<circle class="best {style}" cx="{x:.1f}" cy="{y:.1f}" r="5"/>'
    )


def _rows(ticks: Iterable[tuple[float, str]], height: Callable[[float], float], left: float) -> Iterable[str]:
    for value, text in ticks:
        y = height(value)
        yield f'<path class="grid" d="M{left:g},{y:.1f}H{WIDTH - RIGHT}"/>'
        yield f'<text class="end" x="{left - 8:g}" y="{y + 4:.1f}">{text}</text>'


def _steps(axis: Axis, left: float) -> Iterable[str]:
    bottom = TOP + HEIGHT
    yield f'<path class="axis" d="M{left:g},{bottom}H{WIDTH - RIGHT}"/>'
    yield f'<text class="name end" x="{left - 18:g}" y="{bottom + ROW}">step</text>'
    steps = whole_ticks(axis.first, axis.last)
    places = [axis.place(step, left) for step in steps]
    yield from _marks(zip(places, tick_texts(steps), strict=True), ROW)
    done = {0: axis.first, **axis.epochs} if 1 in axis.epochs else dict(axis.epochs)
    shown = [epoch for epoch in whole_ticks(min(done, default=0), max(done, default=0)) if epoch in done]
    if len(shown) > 1:
        yield f'<text class="name end" x="{left - 18:g}" y="{bottom + 2 * ROW}">epoch</text>'
        yield from _marks(((axis.place(done[epoch], left), str(epoch)) for epoch in shown), 2 * ROW)


def _marks(marks: Iterable[tuple[float, str]], below: int) -> Iterable[str]:
    free = 0.0
    for x, text in marks:
        half = 4.4 * len(text) + 2
        middle = min(max(x, half + 30 * (free == 0.0)), WIDTH - half)
        if middle - half < free:
            continue
        free = middle + half
        yield f'<path class="axis" d="M{x:.1f},{TOP + HEIGHT}v4"/>'
        yield f'<text class="mid" x="{middle:.1f}" y="{TOP + HEIGHT + below}">{text}</text>'


def _failures(lines: Sequence[Line], axis: Axis, left: float) -> Iterable[str]:
    for line in lines:
        if line.curve.first_not_finite:
            x = axis.place(line.curve.first_not_finite.step, left)
            yield f'<path class="failure" d="M{x:.1f},{TOP}V{TOP + HEIGHT}"/>'
