"""Progress for files, pipes and job logs: a plain line now and then."""

import sys
from dataclasses import dataclass
from time import monotonic
from typing import Any, TextIO

from lt_interfaces import Trainer

from lt_callbacks.progress_bar import NEVER, ProgressBar, metrics_text


@dataclass(slots=True)
class Pass:
    """How far a pass over data had come when its last line was written."""

    description: str
    total: float
    done: int
    begun: float
    marked: float
    first: int


class LineProgressBar(ProgressBar):
    """A line every `interval_seconds`, and one at the end of a pass unless such a line was written just before.

    ::

        epoch 3/10  batch 120/400  30%  1520 batches/s  ETA 0:12  train_loss=0.123
        epoch 3/10  done, 400 batches in 0:15  1511 batches/s  train_loss=0.118  val_loss=0.140
    """

    def __init__(self, interval_seconds: float = 5.0, stream: TextIO | None = None) -> None:
        if interval_seconds <= 0:
            raise ValueError(f"`interval_seconds` must be positive, got {interval_seconds!r}. Use a few seconds.")
        super().__init__()
        self.refresh_seconds = interval_seconds
        self.stream = stream
        self._passes: dict[str, Pass] = {}
        self._end_due = 0.0
        self._held = ""

    def _open(self, stage: str, description: str, total: float, done: int = 0) -> None:
        now = monotonic()
        if not self._due:
            self._due = now + self.refresh_seconds
        if stage == "validation" and "train" in self._passes:
            description = f"{self._passes['train'].description}  {description}"
        self._passes[stage] = Pass(description.lower(), total, done, now, now, done)

    def _draw(self, stage: str, done: int) -> None:
        part, now = self._passes[stage], monotonic()
        rate = (done - part.done) / max(now - part.marked, 1e-9)
        part.done, part.marked = done, now
        words = [part.description, f"batch {done}"]
        if part.total != NEVER:
            words[1] += f"/{int(part.total)}"
            words.append(f"{done / max(part.total, 1):.0%}")
        words.append(rate_text(rate))
        if part.total != NEVER and rate:
            words.append(f"ETA {time_text((part.total - done) / rate)}")
        self._write(words)

    def _close(self, stage: str, done: int) -> None:
        part, now = self._passes.pop(stage), monotonic()
        spent = now - part.begun
        if stage == "validation" and "train" in self._passes:
            train = self._passes["train"]
            train.begun, train.marked = train.begun + spent, train.marked + spent
            if self.trainer.is_last_batch:
                return  # the line of the epoch follows
        if stage == "sanity":
            return
        count = done - part.first
        words = [part.description, f"done, {count} batches in {time_text(spent)}", rate_text(count / max(spent, 1e-9))]
        if stage in ("train", "validation") and now < self._end_due:
            self._held = self._line(words)
            return
        self._write(words)
        self._end_due = now + self.refresh_seconds

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        self._print_held()

    def on_exception(self, trainer: Trainer, pl_module: Any, exception: BaseException) -> None:
        """Say how far it came."""
        self._print_held()

    def _print_held(self) -> None:
        if self._held:
            print(self._held, file=self.stream or sys.stderr, flush=True)
        self._held = ""

    def _line(self, words: list[str]) -> str:
        return "  ".join([*words, metrics_text(self._metrics, "  ")]).rstrip()

    def _write(self, words: list[str]) -> None:
        self._held = ""
        print(self._line(words), file=self.stream or sys.stderr, flush=True)
        self._due = monotonic() + self.refresh_seconds


def lines_of(bar: ProgressBar, trainer: Trainer, module: Any, stage: str) -> LineProgressBar:
    """What writes lines for a bar that has nowhere to draw: its counts and metrics, at the pace of lines."""
    lines = LineProgressBar()
    lines.setup(trainer, module, stage)
    lines._metrics = bar._metrics
    if bar.is_enabled:
        bar.refresh_seconds = lines.refresh_seconds
        bar._due = monotonic() + bar.refresh_seconds
    return lines


def rate_text(per_second: float) -> str:
    """Batches per second, or seconds per batch where they are slow."""
    if 0 < per_second < 1:
        return f"{1 / per_second:.1f} s/batch"
    return f"{per_second:.{0 if per_second >= 10 else 1}f} batches/s"


def time_text(seconds: float) -> str:
    """As `1:02:03`, or `2:03` under an hour."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
