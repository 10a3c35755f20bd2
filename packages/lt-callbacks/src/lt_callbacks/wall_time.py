"""Durations as users write them, and a span of wall time whose end all ranks see at the same step."""

from collections.abc import Mapping
from datetime import timedelta
from time import monotonic

from lt_interfaces import MisconfigurationException, Trainer

MOST_STEPS_BETWEEN_CHECKS = 100


def seconds_in(duration: str | timedelta | Mapping[str, float]) -> float:
    """Seconds of a timedelta, a mapping of its arguments, or a string "DD:HH:MM:SS"."""
    if isinstance(duration, timedelta):
        return duration.total_seconds()
    try:
        if isinstance(duration, Mapping):
            return timedelta(**duration).total_seconds()
        days, hours, minutes, seconds = (int(part) for part in duration.strip().split(":"))
    except (AttributeError, TypeError, ValueError) as error:
        raise MisconfigurationException(
            f"{duration!r} is no duration. Use 'DD:HH:MM:SS', a `timedelta` or a dict of its arguments."
        ) from error
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds).total_seconds()


class Span:
    """A span of wall time, asked once per step whether it is over.

    With one process asking reads the clock. With several, rank zero's clock decides, and the ranks talk only at steps
    that they agreed on the last time: half way to the end at the pace so far.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.start()

    def start(self, spent: float = 0.0) -> None:
        """Begin anew, `spent` seconds into the span."""
        self._begin = monotonic() - spent
        self._started = monotonic()
        self._asked = 0
        self._next = 1

    @property
    def spent(self) -> float:
        """Seconds since the beginning."""
        return monotonic() - self._begin

    def is_over(self, trainer: Trainer) -> bool:
        """True once the time is up, on all ranks at the same call."""
        if trainer.world_size == 1:
            return monotonic() - self._begin >= self.seconds
        self._asked += 1
        if self._asked < self._next:
            return False
        over, pause = trainer.engine.broadcast(self._look())
        self._next = self._asked + pause
        return bool(over)

    def _look(self) -> tuple[bool, int]:
        left = self.seconds - self.spent
        pace = (monotonic() - self._started) / self._asked
        pause = int(left / 2 / pace) if left > 0 and pace > 0 else 1
        return left <= 0, min(max(1, pause), MOST_STEPS_BETWEEN_CHECKS)
