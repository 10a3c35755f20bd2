"""`metrics.csv`: rows kept in memory for a moment and appended; what is in the file is never lost."""

import csv
import errno
import io
import os
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

from lt_interfaces import rank_zero_warn
from lt_interfaces.whole_file import replacing

from lt_loggers.metrics import in_counting_order

FLUSH_SECONDS = 1.0


class MetricsFile:
    """Appends one row per record; at most one second or `max_rows` of them are in memory while records come in.

    An existing file is continued, whoever wrote it. A column that is new there costs one rewrite of the file, put in
    place whole. While the disk is full or gone, rows wait in memory, and that is said once.
    """

    def __init__(self, path: Path, max_rows: int) -> None:
        self.path = path
        self._max_rows = max_rows
        self._rows: list[dict[str, Any]] = []
        self._columns, self._unterminated = _header(path)
        self._last_step: int | None = None
        self._flushed = 0.0
        self._is_failing = False
        for left in path.parent.glob(f".{path.name}.*.tmp"):  # by a process that was killed while it rewrote the file
            left.unlink(missing_ok=True)

    def append(self, row: dict[str, Any], step: int | None = None) -> None:
        """Take one row, which is kept and not copied; without `step` it follows the last one in the file."""
        if step is None:
            step = self._latest_step() + 1
        row["step"] = self._last_step = step
        self._rows.append(row)
        if len(self._rows) >= self._max_rows and not self._is_failing:
            self.flush()
        else:
            self.save()

    def save(self) -> None:
        """Write, unless that happened within the last second."""
        if monotonic() - self._flushed >= FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write all rows to the file now, in one append."""
        if not self._rows:
            return
        self._flushed = monotonic()
        try:
            self._write()
            self._is_failing = False
        except OSError as error:
            if not self._is_failing:
                rank_zero_warn(f"{str(self.path)!r} could not be written: {error}. Make room; rows wait in memory.")
            self._is_failing = True

    def close(self) -> None:
        """Write all rows to the file; say how many that did not work for."""
        self.flush()
        if self._rows:
            rank_zero_warn(f"{len(self._rows)} rows could not be written to {str(self.path)!r} and are lost.")

    def _write(self) -> None:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        if self._columns and not self.path.exists():  # somebody took it away
            self._columns = []
        found = {column for row in self._rows for column in row}
        new = sorted(found.difference(self._columns), key=in_counting_order)
        if new and self._columns:
            self._widen(new)
        elif new:
            writer.writerow(new)
        columns = self._columns or new
        writer.writerows([row.get(column, "") for column in columns] for row in self._rows)
        _append(self.path, ("\n" if self._unterminated else "").encode() + text.getvalue().encode())
        self._columns = columns
        self._rows = []
        self._unterminated = False

    def _widen(self, new: list[str]) -> None:
        width = len(self._columns) + len(new)
        with replacing(self.path) as file:
            writer = csv.writer(file, lineterminator="\n")
            old = _read(self.path)
            writer.writerow(next(old, []) + new)
            writer.writerows(row + [""] * (width - len(row)) for row in old)
        self._columns = self._columns + new
        self._unterminated = False

    def _latest_step(self) -> int:
        if self._last_step is None:
            at = self._columns.index("step") if "step" in self._columns else None
            steps = () if at is None else (row[at] for row in _read(self.path) if at < len(row))
            self._last_step = max((int(step) for step in steps if step.isdecimal()), default=-1)
        return self._last_step


def _append(path: Path, data: bytes) -> None:
    """Append all of it or nothing."""
    with open(path, "ab", buffering=0) as file:
        size = file.seek(0, io.SEEK_END)
        try:
            if file.write(data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            file.truncate(size)
            raise


def _read(path: Path) -> Iterator[list[str]]:
    with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
        yield from csv.reader(file)


def _header(path: Path) -> tuple[list[str], bool]:
    if not path.exists() or not path.stat().st_size:
        return [], False
    with open(path, "rb") as file:
        file.seek(-1, io.SEEK_END)
        unterminated = file.read() not in b"\r\n"
    return next(_read(path), []), unterminated
