"""When the fit loop validates: by share of an epoch, by batches, by time, every so many epochs."""

import time
from typing import Any

from lt_interfaces import MisconfigurationException

from lt_loops.arguments import seconds


class ValidationSchedule:
    """Built anew whenever the training loader is; remembers where it has validated."""

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer
        self.at: tuple[int, int] | None = None
        """Epoch and batches of the last validation."""
        self._time = 0.0
        self._every: int | None = None
        self._by_time: float | None = None

    def set_up(self, num_batches: float) -> None:
        """Count the batches between two validations, for an epoch of this many."""
        trainer = self.trainer
        interval, per_epoch = trainer.val_check_interval, trainer.check_val_every_n_epoch is not None
        self._time = time.monotonic()
        self._by_time = None if isinstance(interval, (int, float)) else seconds("val_check_interval", interval)
        self._every = None
        if not trainer.enable_validation or self._by_time is not None:
            return
        if isinstance(interval, float) and interval == 1.0:
            return
        if isinstance(interval, float):
            if num_batches == float("inf"):
                raise MisconfigurationException(
                    f"`val_check_interval={interval}` is a share of an epoch whose length is unknown. "
                    "Give a number of batches (int)."
                )
            self._every = max(1, int(num_batches * interval))
            return
        self._every = interval
        if per_epoch and interval > num_batches and trainer.limit_val_batches:
            raise MisconfigurationException(
                f"`val_check_interval={interval}` is more than the {int(num_batches)} batches of an epoch, so "
                "validation would never run. Lower it, or set `check_val_every_n_epoch=None` to count over epochs."
            )

    def is_within_epoch(self) -> bool:
        """False if no batch of this epoch but the last can be followed by validation."""
        return self.trainer.enable_validation and (self._every is not None or self._by_time is not None)

    @property
    def every(self) -> float:
        """Batches between two validations; infinite by time."""
        return float("inf") if self._by_time is not None else self._every or self.trainer.fit_loop.num_batches

    def is_here(self) -> bool:
        """True if the last validation was after just this batch."""
        progress = self.trainer.progress
        return self.at == (progress.epoch, progress.batch)

    def note(self) -> None:
        """Validation has run here."""
        self.at = (self.trainer.progress.epoch, self.trainer.progress.batch)
        self._time = time.monotonic()

    def is_due(self, at_end: bool = False) -> bool:
        """Whether to validate now; at most once at the same batch."""
        trainer, progress, fit = self.trainer, self.trainer.progress, self.trainer.fit_loop
        n = trainer.check_val_every_n_epoch
        if not trainer.enable_validation or self.is_here():
            return False
        if n is not None and (progress.epoch + 1) % n != 0:
            return False
        if trainer.should_stop and fit.may_stop():
            return True
        if self._by_time is not None:
            return bool(trainer.agree(time.monotonic() - self._time >= self._by_time))
        if not at_end and progress.batch >= fit.num_batches:
            return False
        if self._every is None:
            return at_end
        if n is None:
            return bool((fit.batches_before + progress.batch) % self._every == 0)
        return bool(progress.batch % self._every == 0)
