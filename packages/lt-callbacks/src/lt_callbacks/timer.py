"""Measures how long each stage takes and ends training when its time is up."""

from collections.abc import Mapping
from datetime import timedelta
from time import monotonic
from typing import Any

from lt_interfaces import Callback, MisconfigurationException, Trainer, did_you_mean, rank_zero_info

from lt_callbacks.wall_time import Span, seconds_in

STAGES = ("train", "validate", "test", "predict")


class Timer(Callback):
    """Stops training after `duration`, a "DD:HH:MM:SS", a timedelta or a dict of its arguments; None only measures.

    Time spent before a restart counts. `interval` says where training may stop: after a "step" or an "epoch".
    """

    def __init__(
        self,
        duration: str | timedelta | Mapping[str, float] | None = None,
        interval: str = "step",
        verbose: bool = True,
    ) -> None:
        if interval not in ("step", "epoch"):
            raise MisconfigurationException(f"`interval` must be 'step' or 'epoch', got {interval!r}. Choose one.")
        self.verbose = verbose
        self._by_step = interval == "step"
        self._span = None if duration is None else Span(seconds_in(duration))
        self._offset = 0.0
        self._start: dict[str, float] = {}
        self._end: dict[str, float] = {}

    def start_time(self, stage: str = "train") -> float | None:
        """When the stage began, on the monotonic clock; None if it did not."""
        return self._start.get(_known(stage))

    def end_time(self, stage: str = "train") -> float | None:
        """When the stage ended; None if it did not."""
        return self._end.get(_known(stage))

    def time_elapsed(self, stage: str = "train") -> float:
        """Seconds spent in the stage so far, for training those of the runs before this one included."""
        offset = self._offset if stage == "train" else 0.0
        if _known(stage) not in self._start:
            return offset
        return self._end.get(stage, monotonic()) - self._start[stage] + offset

    def time_remaining(self, stage: str = "train") -> float | None:
        """Seconds left of `duration`; None without one."""
        return None if self._span is None else self._span.seconds - self.time_elapsed(stage)

    def state_dict(self) -> dict[str, Any]:
        return {"time_elapsed": {stage: self.time_elapsed(stage) for stage in STAGES}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._offset = state_dict.get("time_elapsed", {}).get("train", 0.0)

    def on_fit_start(self, trainer: Trainer, pl_module: Any) -> None:
        if self._span is not None:
            self._span.start(self._offset)
            self._check(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        self._begin("train")
        if self._span is not None:
            self._span.start(self._offset)

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        self._end["train"] = monotonic()

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self._by_step and self._span is not None:
            self._check(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        if not self._by_step and self._span is not None:
            self._check(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: Any) -> None:
        self._begin("validate")

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        self._end["validate"] = monotonic()

    def on_test_start(self, trainer: Trainer, pl_module: Any) -> None:
        self._begin("test")

    def on_test_end(self, trainer: Trainer, pl_module: Any) -> None:
        self._end["test"] = monotonic()

    def on_predict_start(self, trainer: Trainer, pl_module: Any) -> None:
        self._begin("predict")

    def on_predict_end(self, trainer: Trainer, pl_module: Any) -> None:
        self._end["predict"] = monotonic()

    def _begin(self, stage: str) -> None:
        self._start[stage] = monotonic()
        self._end.pop(stage, None)

    def _check(self, trainer: Trainer) -> None:
        if self._span is not None and self._span.is_over(trainer):
            if self.verbose and not trainer.should_stop:
                rank_zero_info(f"The time for training, {timedelta(seconds=self._span.seconds)}, is up.")
            trainer.should_stop = True


def _known(stage: str) -> str:
    if stage not in STAGES and stage != "sanity_check":  # the latter counts as "validate"
        raise ValueError(f"There is no stage {stage!r}. {did_you_mean(stage, STAGES)}")
    return stage
