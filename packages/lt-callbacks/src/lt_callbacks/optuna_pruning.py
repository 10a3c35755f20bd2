"""Ends a trial of an Optuna study whose metric is not promising."""

from typing import Any, ClassVar

from lt_interfaces import Callback, MisconfigurationException, Trainer

from lt_callbacks.monitor import Monitor
from lt_callbacks.validation_schedule import has_validation, validates_at_epoch_end_only


class OptunaPruningCallback(Callback):
    """Reports a metric to an Optuna trial and raises `optuna.TrialPruned` once its pruner says so.

    It reports after each validation, or at the end of each epoch where the metric is one of training. Steps are epochs,
    or optimizer steps where validation runs more or less often than once an epoch. With several processes rank zero
    asks, and all ranks raise; on the others `trial` may be None. Needs `pip install lt-callbacks[optuna]`.

    Args:
        trial: The trial that the objective function got.
        monitor: The name of the metric, as it was logged.
    """

    decides_on_epoch: ClassVar[bool] = True

    def __init__(self, trial: Any, monitor: str) -> None:
        try:
            import optuna
        except ImportError as error:
            raise ImportError(
                "`OptunaPruningCallback` needs optuna, which is not installed. `pip install lt-callbacks[optuna]`."
            ) from error
        if trial is not None and not (hasattr(trial, "report") and hasattr(trial, "should_prune")):
            raise TypeError(f"`trial` got {trial!r}. Pass the trial that your objective function was called with.")
        self._pruned = optuna.TrialPruned
        self.trial, self.monitor = trial, monitor
        self._metric = Monitor(monitor, type(self).__name__)
        self._reported = -1

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        if stage == "fit" and self.trial is not None and len(getattr(self.trial.study, "directions", [1])) > 1:
            raise MisconfigurationException(
                "`OptunaPruningCallback` got a trial of a study with several objectives, which Optuna does not prune. "
                "Leave the callback out."
            )
        self._metric.validated_step = self._reported = -1

    def on_validation_start(self, trainer: Trainer, pl_module: Any) -> None:
        if not trainer.sanity_checking:
            self._metric.learn(trainer, "batch")

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        if trainer.sanity_checking or trainer.stage is None:
            return
        self._metric.validated_step = trainer.global_step
        self._metric.learn(trainer, "validation")
        if self._metric.moment == "validation":
            self._report(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        self._metric.learn(trainer, "epoch")
        if not self._metric.is_settled and has_validation(trainer):
            return
        self._metric.require(trainer)
        if self._metric.moment != "validation":
            self._report(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        self._metric.require(trainer)

    def _report(self, trainer: Trainer) -> None:
        step = trainer.current_epoch if validates_at_epoch_end_only(trainer) else trainer.global_step
        prune, value = False, float("nan")
        if trainer.is_global_zero and self.trial is not None and step != self._reported:
            value = float(trainer.callback_metrics[self.monitor])
            self.trial.report(value, step)
            prune = bool(self.trial.should_prune())
        self._reported = step
        prune, value = trainer.engine.broadcast((prune, value))
        if prune:
            raise self._pruned(f"Pruned at step {step}: `{self.monitor}` was {value:.5g}.")
