"""The report of the run that is going on now, written from time to time."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from lt_interfaces import rank_zero_warn
from lt_interfaces.whole_file import replacing

from lt_loggers.report.environment import accelerator, environment
from lt_loggers.report.run import MAX_CHECKPOINTS, Run, read_run
from lt_loggers.report.run_report import run_report
from lt_loggers.shown_warnings import ShownWarnings

AFTER_EPOCH_SECONDS = 5.0
ANYWAY_SECONDS = 30.0
SHARE = 0.01  # of the time that writing the page may take
Saved = tuple[str, str, float | None, str]


class LiveReport:
    """Keeps what the page shows in bounded memory and writes it to `report.html`."""

    def __init__(self, folder: Path, name: str, version: str) -> None:
        self.path = folder / "report.html"
        try:
            self.run = read_run(folder)
        except (OSError, ValueError) as error:
            rank_zero_warn(f"The report starts without the run's earlier records: {error}")
            self.run = Run(name=name, version=version)
        self.run.name = name
        self.run.environment = environment()
        self.run.started = self.run.started or time.time()
        self._saved: dict[str, list[Saved]] = {}
        self._seconds_before, self._began = self.run.seconds, time.monotonic()
        self._epoch_shown: int | None = None
        self._due, self._has_warned = -math.inf, False
        self._marked: tuple[int, float] | None = None
        self._warnings = ShownWarnings(self.run.warnings)
        self._warnings.start()

    def add(self, row: Mapping[str, float], step: int | None = None) -> None:
        """Take one record; without `step` it follows the last one."""
        records = self.run.records
        if step is None:
            step = records.last_step + 1 if records.curves else 0
        epoch = records.epoch
        records.add(row, step)
        if self.run.status != "running":
            self.run.status, self._marked = "running", None
            self._warnings.start()
        now = time.monotonic()
        if self._marked is None:
            self._marked = (step, now)
        elif records.epoch != epoch or now >= self._marked[1] + ANYWAY_SECONDS:
            self._mark(step, now)
        if now >= self._due:
            self.save()

    def _mark(self, step: int, now: float) -> None:
        """Note how fast the steps since the last mark were, all that happened between them included."""
        before, then = self._marked or (step, now)
        if step > before and now > then:
            if step <= self.run.speed.last.step:  # of steps that are done again
                self.run.speed = self.run.speed.before(step)
            self.run.speed.add(step, (step - before) / (now - then))
            self._marked = (step, now)

    def set_checkpoints(self, key: str, saved: Sequence[Saved], directions: Mapping[str, str]) -> None:
        """Take what one callback keeps now."""
        self._saved[key] = list(saved)[:MAX_CHECKPOINTS]
        self.run.checkpoints = [row for rows in self._saved.values() for row in rows]
        self.run.directions.update(directions)

    def save(self) -> None:
        """Write, if an epoch is over or a while has passed since that was done."""
        is_new_epoch = self.run.records.epoch != self._epoch_shown
        due = self._due if is_new_epoch else self._due + ANYWAY_SECONDS - AFTER_EPOCH_SECONDS
        if self.run.status == "running" and time.monotonic() >= due:
            self.write()

    def write(self) -> None:
        """Write the page now; a disk that is full or gone does not stop the run."""
        began, run = time.monotonic(), self.run
        run.updated, run.seconds = time.time(), self._seconds_before + began - self._began
        run.environment.update(accelerator())
        try:
            with replacing(self.path) as file:
                file.write(run_report(run, is_live=run.status == "running"))
        except OSError as error:
            if not self._has_warned:
                rank_zero_warn(f"{str(self.path)!r} could not be written: {error}. Make room; the run goes on.")
            self._has_warned = True
        self._epoch_shown = run.records.epoch
        self._due = time.monotonic() + max(AFTER_EPOCH_SECONDS, (time.monotonic() - began) / SHARE)

    def finish(self, status: str) -> None:
        """Write the page as the run ended, if anything was logged."""
        self._warnings.stop()
        if self.run.status == "running":
            self._mark(self.run.records.last_step, time.monotonic())
        if self.run.records.curves:
            self.run.status = "finished" if status == "success" else status
            self.write()

    def close(self) -> None:
        """Write the page of a run that never said how it ended."""
        self._warnings.stop()
        if self.run.status == "running":
            self.finish("ended")
