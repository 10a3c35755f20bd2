"""When a checkpoint is due, so that a scored one holds the weights that its score was computed with."""

from datetime import timedelta
from enum import Enum, auto
from typing import Any

from lt_interfaces import MisconfigurationException, Trainer

from lt_callbacks.monitor import Monitor
from lt_callbacks.validation_schedule import has_validation, validates_at_epoch_end_only, validation_follows
from lt_callbacks.wall_time import Span


class Due(Enum):
    """What to save now."""

    NOTHING = auto()
    LAST = auto()
    """The trigger fired, but the score of these weights is not there: only `last` can be brought up to date."""
    ALL = auto()


class SaveSchedule:
    """Turns the moments of a run into saves: a trigger without a fresh score is owed until there is one."""

    def __init__(
        self,
        monitor: Monitor,
        every_n_train_steps: int,
        train_time_interval: timedelta | None,
        every_n_epochs: int,
        at_train_epoch_end: bool | None,
        named_after_metrics: bool,
    ) -> None:
        seconds = train_time_interval.total_seconds() if train_time_interval else 0
        if min(every_n_train_steps, every_n_epochs, seconds) < 0:
            raise MisconfigurationException(
                f"`every_n_train_steps={every_n_train_steps}`, `every_n_epochs={every_n_epochs}`, "
                f"`train_time_interval={train_time_interval}`: one is negative. Use 0 to switch a trigger off."
            )
        if sum(map(bool, (every_n_train_steps, every_n_epochs, seconds))) > 1:
            raise MisconfigurationException(
                "More than one of `every_n_train_steps`, `every_n_epochs` and `train_time_interval` is given. "
                "Use a `ModelCheckpoint` for each."
            )
        self.monitor = monitor
        self.by_batch = every_n_train_steps > 0 or seconds > 0
        self._every_n_steps, self._every_n_epochs = every_n_train_steps, every_n_epochs
        self._at_train_epoch_end = at_train_epoch_end
        self._needs_metrics = monitor.name is not None or named_after_metrics
        self._span = Span(seconds) if seconds else None
        self.start()

    def start(self) -> None:
        """Begin a run with nothing owed."""
        self.is_owed = False
        self._fired = 0
        self.monitor.forget()

    def start_clock(self) -> None:
        """Begin the first time interval."""
        if self._span is not None:
            self._span.start()

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run must know."""
        return {"is_owed": self.is_owed, "fired": self._fired, "metric": self.monitor.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue with what the former run owed and had learned."""
        self.is_owed = bool(state_dict.get("is_owed", False))
        self._fired = state_dict.get("fired", 0)
        self.monitor.load_state_dict(state_dict.get("metric", {}))

    def batch_is_due(self, trainer: Trainer) -> bool:
        """Whether a trigger fires after this training batch; asked once per batch."""
        if self._span is None:
            return self._step_is_due(trainer)
        if self._span.is_over(trainer):
            self._span.start()
            return True
        return False

    def after_batch(self, trainer: Trainer, batch_idx: int) -> Due:
        """What to save after a batch for which a trigger fired."""
        self._fired = trainer.global_step
        self.monitor.learn(trainer, "batch")
        waits = self._needs_metrics and self.monitor.moment != "batch"
        if waits and validation_follows(trainer, batch_idx):
            self.is_owed = True
            return Due.NOTHING
        return self._all_or_last(trainer)

    def before_validation(self, trainer: Trainer) -> None:
        """A metric that is there before validation is one of the training batches."""
        self.monitor.learn(trainer, "batch")

    def after_validation(self, trainer: Trainer) -> Due:
        """What to save with the validation's metrics; raises if the monitored one is not among them."""
        self.monitor.validated_step = trainer.global_step
        self.monitor.learn(trainer, "validation")
        at_epoch_end = self._acts_at_epoch_end(trainer)
        epoch_end_follows = self.by_batch and validates_at_epoch_end_only(trainer)
        if not (at_epoch_end or epoch_end_follows):
            self.monitor.require(trainer)
        epoch_is_due = not at_epoch_end and self._epoch_is_due(trainer)
        is_due = self.is_owed or epoch_is_due or self._step_is_due(trainer)
        return self._all_or_last(trainer) if is_due else Due.NOTHING

    def after_epoch(self, trainer: Trainer) -> Due:
        """What to save at the end of a training epoch."""
        self.monitor.learn(trainer, "epoch")
        at_epoch_end = self._acts_at_epoch_end(trainer)
        nothing_to_wait_for = self.monitor.validated_step >= 0 or not has_validation(trainer)
        if nothing_to_wait_for and (at_epoch_end or self.by_batch):
            self.monitor.require(trainer)
        fresh = self.monitor.is_fresh(trainer, at_epoch_end=True)
        settles = self.is_owed and (fresh or self._fired == trainer.global_step)
        is_due = settles or (at_epoch_end and self._epoch_is_due(trainer)) or self._step_is_due(trainer)
        return self._all_or_last(trainer, at_epoch_end=True) if is_due else Due.NOTHING

    def _all_or_last(self, trainer: Trainer, at_epoch_end: bool = False) -> Due:
        fresh = self.monitor.is_fresh(trainer, at_epoch_end)
        self.is_owed = not fresh
        return Due.ALL if fresh else Due.LAST

    def _step_is_due(self, trainer: Trainer) -> bool:
        n, step = self._every_n_steps, trainer.global_step
        return n > 0 and step % n == 0 and step != self._fired

    def _epoch_is_due(self, trainer: Trainer) -> bool:
        n = self._every_n_epochs
        return n > 0 and (trainer.current_epoch + 1) % n == 0

    def _acts_at_epoch_end(self, trainer: Trainer) -> bool:
        if self.by_batch:
            return False
        if self._at_train_epoch_end is not None:
            return self._at_train_epoch_end
        return validates_at_epoch_end_only(trainer) or not has_validation(trainer)
