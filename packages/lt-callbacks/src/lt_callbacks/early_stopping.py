"""Ends training when a metric stops improving, reaches its goal, or goes astray."""

import math
from enum import IntEnum
from typing import Any, ClassVar

import torch
from lt_interfaces import Callback, MisconfigurationException, Trainer, log, rank_zero_info

from lt_callbacks import ranking
from lt_callbacks.monitor import Monitor, not_logged, number
from lt_callbacks.validation_schedule import has_validation, validates_at_epoch_end_only


class EarlyStoppingReason(IntEnum):
    """Why training was stopped."""

    NOT_STOPPED = 0
    STOPPING_THRESHOLD = 1
    DIVERGENCE_THRESHOLD = 2
    PATIENCE_EXHAUSTED = 3
    NON_FINITE_METRIC = 4


class EarlyStopping(Callback):
    """Stops after `patience` checks in a row without an improvement of more than `min_delta`.

    A check is one look at the metric: at the end of each training epoch, or of each validation where that runs at
    other times. `update` is the decision alone, for a loop of your own. The constructor's `patience` holds after a
    resume too, so a longer one continues a run that had stopped.
    """

    decides_on_epoch: ClassVar[bool] = True
    device_reads = 0

    def __init__(
        self,
        monitor: str,
        min_delta: float = 0.0,
        patience: int = 3,
        verbose: bool = False,
        mode: str = "min",
        strict: bool = True,
        check_finite: bool = True,
        stopping_threshold: float | None = None,
        divergence_threshold: float | None = None,
        check_on_train_epoch_end: bool | None = None,
        log_rank_zero_only: bool = False,
    ) -> None:
        if mode not in ("min", "max"):
            raise MisconfigurationException(f"`mode` must be 'min' or 'max', got {mode!r}. Say which value is better.")
        if patience < 0 or min_delta < 0:
            raise ValueError(f"`patience={patience}` and `min_delta={min_delta}` must not be negative. Use 0 or more.")
        self.monitor = monitor
        self.min_delta = min_delta
        self.patience = patience
        self.verbose = verbose
        self.mode = mode
        self.strict = strict
        self.check_finite = check_finite
        self.stopping_threshold = stopping_threshold
        self.divergence_threshold = divergence_threshold
        self.check_on_train_epoch_end = check_on_train_epoch_end
        self.log_rank_zero_only = log_rank_zero_only
        self.wait_count = 0
        self.stopped_epoch = 0
        self.best_score = torch.tensor(ranking.worst_score(mode))
        self.stopping_reason = EarlyStoppingReason.NOT_STOPPED
        self.stopping_reason_message: str | None = None
        self._active = True
        self._wants_to_stop = False
        self._together: tuple[EarlyStopping, ...] = (self,)
        self._metric = Monitor(monitor, type(self).__name__)
        self._checked_step = -1

    @property
    def state_key(self) -> str:
        return type(self).__qualname__ + repr({"monitor": self.monitor, "mode": self.mode})

    def state_dict(self) -> dict[str, Any]:
        names = ("wait_count", "stopped_epoch", "best_score", "patience")
        own = {"wants_to_stop": self._wants_to_stop, "checked_step": self._checked_step}
        return {name: getattr(self, name) for name in names} | own | {"metric": self._metric.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.wait_count = state_dict["wait_count"]
        self.stopped_epoch = state_dict["stopped_epoch"]
        self.best_score = torch.as_tensor(state_dict["best_score"])
        self._wants_to_stop = state_dict.get("wants_to_stop", False) and self.wait_count >= self.patience
        self._checked_step = state_dict.get("checked_step", -1)
        self._metric.load_state_dict(state_dict.get("metric", {}))

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        self._active = stage == "fit" and not trainer.fast_dev_run
        if stage == "fit":
            self.stopping_reason, self.stopping_reason_message = EarlyStoppingReason.NOT_STOPPED, None
            self._metric.forget()
            self._checked_step = -1
            self._wants_to_stop = False

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """A run that was ended right after it had decided to stop is not to go on."""
        if self._active and all(stopper._wants_to_stop for stopper in self._together):
            trainer.should_stop = True

    def on_validation_start(self, trainer: Trainer, pl_module: Any) -> None:
        if self._active and not trainer.sanity_checking:
            self._metric.learn(trainer, "batch")

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        if not self._active or trainer.sanity_checking:
            return
        self._metric.validated_step = trainer.global_step
        self._metric.learn(trainer, "validation")
        if not self._checks_at_epoch_end(trainer):
            self._check(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        if not self._active or not self._checks_at_epoch_end(trainer):
            return
        self._metric.learn(trainer, "epoch")
        waits = has_validation(trainer) if self._metric.moment is None else self._metric.moment == "validation"
        if not waits or self._metric.validated_step > self._checked_step:  # a value counts once
            self._check(trainer)

    def update(self, value: Any) -> bool:
        """Take one more value of the metric; True if training should stop now, for `stopping_reason`."""
        score = number(value, self.monitor)
        reason, message = self._judge(score)
        self.stopping_reason, self.stopping_reason_message = reason, message
        return reason is not EarlyStoppingReason.NOT_STOPPED

    def _judge(self, score: torch.Tensor) -> tuple[EarlyStoppingReason, str | None]:
        value, name, better = score.item(), self.monitor, self._is_better
        if self.check_finite and not math.isfinite(value):
            return EarlyStoppingReason.NON_FINITE_METRIC, f"`{name}` is {value}; its best value was {self._best}."
        goal, limit = self.stopping_threshold, self.divergence_threshold
        if goal is not None and better(value, goal):
            return EarlyStoppingReason.STOPPING_THRESHOLD, f"`{name}` reached {value:.5g}, better than {goal}."
        if limit is not None and better(limit, value):
            return EarlyStoppingReason.DIVERGENCE_THRESHOLD, f"`{name}` went to {value:.5g}, worse than {limit}."
        best = self.best_score.item()
        if better(value + self.min_delta if self.mode == "min" else value - self.min_delta, best):
            self._say(f"`{name}` improved from {self._best} to {value:.5g}.")
            self.best_score, self.wait_count = score, 0
            return EarlyStoppingReason.NOT_STOPPED, None
        self.wait_count += 1
        if self.wait_count < self.patience:
            return EarlyStoppingReason.NOT_STOPPED, None
        return (
            EarlyStoppingReason.PATIENCE_EXHAUSTED,
            f"`{name}` did not improve on {self._best} in the last {self.wait_count} checks.",
        )

    @property
    def _best(self) -> str:
        return f"{self.best_score.item():.5g}"

    def _is_better(self, value: float, other: float) -> bool:
        return value < other if self.mode == "min" else value > other

    def _checks_at_epoch_end(self, trainer: Trainer) -> bool:
        if self.check_on_train_epoch_end is not None:
            return self.check_on_train_epoch_end
        return validates_at_epoch_end_only(trainer)

    def _check(self, trainer: Trainer) -> None:
        metrics = trainer.callback_metrics
        self._checked_step = trainer.global_step
        if not self._metric.is_settled and self.strict:  # on all ranks, so that none waits for the others
            raise RuntimeError(not_logged(type(self).__name__, self.monitor, metrics))
        self.device_reads += self.monitor in metrics
        stop = self.monitor in metrics and self.update(metrics[self.monitor])
        self._wants_to_stop = trainer.agree(stop)
        if all(stopper._wants_to_stop for stopper in self._together):
            trainer.should_stop = True
            self.stopped_epoch = trainer.current_epoch
            if self.stopping_reason_message is not None:
                self._say(f"{self.stopping_reason_message} Training stops after epoch {self.stopped_epoch}.")

    def _say(self, message: str) -> None:
        if self.verbose:
            rank_zero_info(message) if self.log_rank_zero_only else log.info(message)


def stop_when_all(*stoppers: EarlyStopping) -> list[EarlyStopping]:
    """The same callbacks, which now stop training only once each of them would: `callbacks=[*stop_when_all(a, b)]`."""
    for stopper in stoppers:
        stopper._together = stoppers
    return list(stoppers)
