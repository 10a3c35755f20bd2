"""The metrics of one run: a curve for each, and where its epochs end."""

import csv
from collections.abc import Mapping
from pathlib import Path

from lt_loggers.report.curve import Curve

MAX_EPOCHS = 2000


class Records:
    """Takes the records of a run and keeps what a report shows of them."""

    def __init__(self) -> None:
        self.curves: dict[str, Curve] = {}
        self.epoch_ends: dict[int, int] = {}
        self.epoch: int | None = None
        self.first_step: int | None = None
        self.top_step = self.last_step = 0
        self._from_file: set[str] = set()

    def add(self, row: Mapping[str, float], step: int) -> None:
        """Take one record; `epoch` and `step` in it are its place, not metrics."""
        self.last_step = step
        if step > self.top_step:
            self.top_step = step
        if self.first_step is None or step < self.first_step:
            self.first_step = step
        for name, value in row.items():
            if name == "epoch":
                self._end_epoch(value, step)
            elif name != "step":
                curve = self.curves.get(name)
                if curve is None:
                    curve = self.curves[name] = Curve()
                elif name in self._from_file:
                    self._from_file.remove(name)
                    curve = self.curves[name] = curve.before(step)
                curve.add(step, value)

    def read(self, file: Path) -> None:
        """Take the rows of a `metrics.csv`; a run that goes on replaces what it does again."""
        with open(file, encoding="utf-8", errors="surrogateescape", newline="") as lines:
            table = filter(None, csv.reader(lines))
            names = next(table, [])
            for count, cells in enumerate(table):
                found = ((name, _number(cell)) for name, cell in zip(names, cells, strict=False) if cell)
                row = {name: value for name, value in found if value is not None}
                step = row.get("step", count)
                if abs(step) < 2**53:
                    self.add(row, int(step))
        self._from_file = set(self.curves)

    def epochs(self) -> dict[int, int]:
        """How many epochs were done at which step; the last counts if it was as long as the one before."""
        done: dict[int, int] = {}
        before, length, latest = (self.first_step or 0) - 1, 0, max(self.epoch_ends, default=0)
        for epoch, end in sorted(self.epoch_ends.items()):
            if end > before and (epoch < latest or end - before >= length):
                length = end - before
                done[epoch + 1] = before = end
        return done

    def _end_epoch(self, epoch: float, step: int) -> None:
        if epoch != self.epoch:
            if not -1 < epoch < 2**53:
                return
            self.epoch = int(epoch)
            if len(self.epoch_ends) >= MAX_EPOCHS:
                self.epoch_ends = dict(list(self.epoch_ends.items())[1::2])
        self.epoch_ends[self.epoch] = max(step, self.epoch_ends.get(self.epoch, step))


def _number(cell: str) -> float | None:
    """What a cell holds; None for somebody else's words."""
    try:
        return float(cell)
    except ValueError:
        return None
