"""The page of several runs: one chart per metric, and what they were given side by side."""

from __future__ import annotations

from collections.abc import Sequence

from lt_loggers.hparams import flatten
from lt_loggers.report.chart import COLORS, Axis, Line
from lt_loggers.report.naming import Section, is_less_better, place
from lt_loggers.report.page import card, document, duration, figure, point_text, table, text
from lt_loggers.report.run import Run
from lt_loggers.report.run_report import FOOTER, MAX_CHARTS, MAX_ROWS, columns_for, drawn_columns, grid

LEGEND_UP_TO = 4


def comparison(runs: Sequence[Run], labels: Sequence[str]) -> str:
    """The runs as one HTML page, each in its colour under its label."""
    head = f"<header><h1>{len(runs)} runs</h1></header>"
    body = f"{_overview(runs, labels)}{_charts(runs, labels)}{_hparams(runs, labels)}"
    return document(f"{len(runs)} runs", f"{head}<main>{body}</main>{FOOTER}")


def _key(number: int, label: str) -> str:
    return f'<i class="c{number % COLORS}{" dashed" * (number >= COLORS)}"></i>{text(label)}'


def _metrics(runs: Sequence[Run]) -> list[str]:
    """Names of all metrics: by section, losses first, of validation first, else as they first appear."""
    names = dict.fromkeys(name for run in runs for name in run.curves)
    order, places = list(Section), {name: place(name) for name in names}
    return sorted(
        names,
        key=lambda name: (
            order.index(places[name].section),
            "loss" not in name.lower(),
            places[name].stage != "validation",
        ),
    )


def _charts(runs: Sequence[Run], labels: Sequence[str]) -> str:
    steps = [step for run in runs for step in (run.records.first_step, run.records.top_step) if step is not None]
    axis = Axis(first=min(steps, default=0), last=max(steps, default=0))
    if axis.first < 0.2 * axis.last:
        axis.first = 0
    columns = columns_for(sum(len(run.curves) for run in runs))
    figures: list[tuple[Section, str]] = []
    left_out = 0
    for name in _metrics(runs):
        lines = []
        for number, (run, label) in enumerate(zip(runs, labels, strict=True)):
            curve = run.curves.get(name)
            if curve is not None:
                best = run.best(name, curve) if place(name).stage == "validation" else None
                drawn = drawn_columns(curve, place(name), columns)
                lines.append(Line(label=label, curve=curve, color=number, best=best, columns=drawn))
        if len(figures) == MAX_CHARTS:
            left_out += 1
        elif any(len(line.columns) > 1 for line in lines):
            chart = figure(name, lines, axis, len(figures), has_legend=len(runs) <= LEGEND_UP_TO, tells_best=False)
            figures.append((place(name).section, chart))
    return grid(figures, left_out)


def _overview(runs: Sequence[Run], labels: Sequence[str]) -> str:
    wanted = [name for name in _metrics(runs) if place(name).stage in ("validation", "test")] or _metrics(runs)
    names = wanted[:6]
    winners = {name: _winner(runs, name) for name in names}
    rows = []
    for number, (run, label) in enumerate(zip(runs, labels, strict=True)):
        cells = [_key(number, label), text(run.status), duration(run.seconds) if run.seconds else ""]
        cells.append(f"{run.records.top_step:,}")
        for name in names:
            curve = run.curves.get(name)
            point = (run.best(name, curve) or curve.last) if curve else None
            cells.append(f'<td class="best">{point_text(point)}</td>' if winners[name] is run else point_text(point))
        rows.append(cells)
    header = ["run", "status", "duration", "steps", *map(text, names)]
    return f"<h2>Results</h2>{card('', table(header, rows, 'numbers'))}"


def _winner(runs: Sequence[Run], name: str) -> Run | None:
    having = [(run.best(name, run.curves[name]), run) for run in runs if name in run.curves]
    points = [(best.value, run) for best, run in having if best]
    if len(points) < 2:
        return None
    less = all(run.directions.get(name, "min" if is_less_better(name) else "max") == "min" for _, run in points)
    return (min if less else max)(points, key=lambda point: point[0])[1]


def _hparams(runs: Sequence[Run], labels: Sequence[str]) -> str:
    given = [flatten(run.hparams) for run in runs]
    names = dict.fromkeys(name for hparams in given for name in hparams)
    if not names:
        return ""
    rows = {}
    for name in names:
        cells = [text(name), *(text(hparams[name]) if name in hparams else "-" for hparams in given)]
        differs = len(set(cells[1:])) > 1
        rows[name] = (differs, [f'<td class="differs">{cell}</td>' for cell in cells] if differs else cells)
    header = ["", *(_key(number, label) for number, label in enumerate(labels))]
    shown = [cells for _, cells in sorted(rows.values(), key=lambda row: not row[0])]
    return f"<h2>Hyperparameters</h2>{card('', table(header, shown[:MAX_ROWS], 'settings'))}"
