"""The page of one run: curves, final values, checkpoints, hyperparameters, environment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lt_loggers.hparams import flatten
from lt_loggers.report.chart import Axis, Line
from lt_loggers.report.curve import Column, Curve
from lt_loggers.report.naming import Place, Section, place
from lt_loggers.report.page import card, document, duration, figure, moment, point_text, table, text, tile
from lt_loggers.report.run import Run
from lt_loggers.report.ticks import number_text

MAX_CHARTS, MAX_LINES, MAX_ROWS = 40, 7, 300
ALL_COLUMNS, MOST_COLUMNS, FEWEST_COLUMNS = 8000, 240, 30
STAGE_COLORS = {"train": 0, "validation": 1, "test": 2}
Charts = dict[tuple[Section, str], list[tuple[str, Place]]]


def run_report(run: Run, is_live: bool = False) -> str:
    """The run as one HTML page, which loads itself again while it is live."""
    body = f"<header>{_head(run)}</header><main>{_tiles(run)}{_charts(run)}{_tables(run)}</main>{FOOTER}"
    return document(run.title, body, run.facts(), is_live)


FOOTER = (
    "<footer>A ring marks the best value. Shaded bands span the extremes of what one point stands for; the line is its "
    "mean.</footer>"
)


def columns_for(curves: int) -> int:
    """How many columns a curve may have, so that a page with many of them stays small."""
    return max(FEWEST_COLUMNS, min(MOST_COLUMNS, ALL_COLUMNS // max(1, curves)))


def drawn_columns(curve: Curve, where: Place, at_most: int) -> list[Column]:
    """What is drawn of a curve; of one that single batches make noisy, means of some points with their extremes."""
    is_noisy = where.section is Section.METRICS and where.stage in ("train", None)
    return curve.columns(min(at_most, max(48, curve.count // 4)) if is_noisy else at_most)


def grid(figures: Sequence[tuple[Section, str]], left_out: int = 0) -> str:
    """All charts side by side; those of the device and mere counts are folded away."""
    shown = "".join(drawn for section, drawn in figures if section is not Section.DEVICE)
    folded = "".join(drawn for section, drawn in figures if section is Section.DEVICE)
    device = f'<details><summary><h2>{Section.DEVICE}</h2></summary><div class="charts">{folded}</div></details>'
    rest = f"<p><small>{_counted(left_out, 'more chart')} would make the page too long.</small></p>" if left_out else ""
    return f'<h2>Curves</h2><div class="charts">{shown}</div>{rest}{device if folded else ""}' if figures else ""


def _head(run: Run) -> str:
    records = run.records
    epochs = max(records.epochs(), default=0)
    facts = [
        duration(run.seconds) if run.started else "",
        _counted(records.top_step, "step") if records.curves else "",
        _counted(epochs, "epoch"),
        f"started {moment(run.started)}" if run.started else "",
        f"updated {moment(run.updated)}" if run.updated and run.status == "running" else "",
        _counted(sum(run.warnings.values()), "warning"),
    ]
    status = f'<span class="status {text(run.status)}">{text(run.status)}</span>' if run.status else ""
    return f"<h1>{text(run.title)}{status}</h1><p>{' · '.join(filter(None, facts))}</p>"


def _tiles(run: Run) -> str:
    tiles = []
    for name, where in _in_order(run):
        curve = run.curves[name]
        best, stage = run.best(name, curve), where.stage
        if best and (stage == "validation" or name in run.directions):
            epoch = run.epoch_of(best.step)
            below = f"step {best.step:,}" + (f", epoch {epoch}" if epoch is not None else "")
            tiles.append(tile(f"best {text(name)}", number_text(best.value), below))
        elif stage == "test":
            tiles.append(tile(text(name), number_text(curve.last.value), f"step {curve.last.step:,}"))
    return f'<div class="tiles">{"".join(tiles[:6])}</div>' if tiles else ""


def _by_chart(run: Run) -> Charts:
    """The metrics of each chart, losses first within their section."""
    charts: Charts = {}
    for name in run.curves:
        where = place(name)
        charts.setdefault((where.section, where.chart), []).append((name, where))
    for members in charts.values():
        members.sort(key=lambda member: STAGE_COLORS.get(member[1].stage or "", -1))
    order = list(Section)
    return dict(sorted(charts.items(), key=lambda item: (order.index(item[0][0]), "loss" not in item[0][1].lower())))


def _in_order(run: Run) -> list[tuple[str, Place]]:
    return [member for members in _by_chart(run).values() for member in members]


def _charts(run: Run) -> str:
    axis = Axis(first=run.records.first_step or 0, last=run.records.top_step, epochs=run.records.epochs())
    if axis.first < 0.2 * axis.last:
        axis.first = 0
    columns = columns_for(len(run.curves))
    figures: list[tuple[Section, str]] = []
    left_out = 0
    for (section, chart), members in _by_chart(run).items():
        lines = _lines(run, members, columns)
        for start in range(0, len(lines), MAX_LINES):
            part = lines[start : start + MAX_LINES]
            if len(figures) == MAX_CHARTS:
                left_out += 1
            elif any(len(line.columns) > 1 for line in part):
                figures.append((section, figure(chart, part, axis, len(figures))))
    return grid(figures, left_out)


def _lines(run: Run, members: Sequence[tuple[str, Place]], columns: int) -> list[Line]:
    labels = {where.label for _, where in members}
    lines: list[Line] = []
    for name, where in members:
        curve = run.curves[name]
        is_faint = where.label.replace("(step)", "(epoch)") in labels - {where.label}
        taken = {line.color for line in lines if not line.is_faint}
        color = STAGE_COLORS.get(where.stage or "")
        if color is None or (color in taken and not is_faint):
            color = next(number for number in range(len(members) + 3) if number not in taken)
        best = run.best(name, curve) if where.stage == "validation" or name in run.directions else None
        line = Line(label=where.label, curve=curve, color=color, is_faint=is_faint, best=best)
        line.columns = drawn_columns(curve, where, columns)
        lines.append(line)
    return lines


def _tables(run: Run) -> str:
    finals: list[list[str]] = []
    folded: list[list[str]] = []
    for name, where in _in_order(run)[:MAX_ROWS]:
        curve = run.curves[name]
        best = run.best(name, curve) if curve.count > 1 else None
        cells = [text(name), point_text(curve.last)]
        for point in (curve.least, curve.greatest) if curve.least.value <= curve.greatest.value else (None, None):
            cells.append(f'<td class="best">{point_text(point)}</td>' if best and point is best else point_text(point))
        (folded if where.section is Section.DEVICE else finals).append(cells)
    header = ("metric", "last", "lowest", "highest")
    values = table(header, finals, "numbers") if finals else ""
    if folded:
        values += f"<details><summary>{Section.DEVICE}</summary>{table(header, folded, 'numbers')}</details>"
    saved = [
        [text(file), f"{text(monitor)} {number_text(score)}" if score is not None else "", text(role)]
        for file, monitor, score, role in run.checkpoints
    ]
    warned = [
        [f"{text(said)}<br><small>{text(place)}</small>", _counted(count, "time")]
        for (said, place), count in run.warnings.items()
    ]
    left = [
        card("Values <small>at step</small>", values),
        card("Checkpoints", table((), saved, "files") if saved else ""),
        card("Warnings", table((), warned, "files") if warned else ""),
    ]
    right = [
        card("Hyperparameters", _pairs(flatten(run.hparams))),
        card("Environment", _pairs(run.environment)),
    ]
    columns = (f"<div>{''.join(cards)}</div>" for cards in (left, right))
    return f'<h2>Details</h2><div class="details">{"".join(columns)}</div>'


def _counted(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'s' * (count != 1)}" if count else ""


def _pairs(facts: Mapping[str, object]) -> str:
    rows = [(text(name), text(value)) for name, value in list(facts.items())[:MAX_ROWS]]
    return table((), rows, "pairs") if rows else ""
