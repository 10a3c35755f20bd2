"""What a trainer tells about itself: counts, stages, metrics, loaders, callbacks."""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lt_interfaces import Progress, Stage, is_overridden

if TYPE_CHECKING:
    from lt_loops.evaluation import EvaluationLoop
    from lt_loops.prediction import PredictionLoop
    from lt_loops.recorder import Recorder
    from lt_loops.signals import StopRequests
    from lt_loops.training import FitLoop


@dataclass(slots=True)
class TrainerState:
    """Status "initializing", "running", "finished" or "interrupted"; entry point; stage."""

    status: str = "initializing"
    fn: str | None = None
    stage: Stage | None = None


def _stage_flag(stage: Stage) -> Any:
    """True while the trainer is in a stage; setting it puts the trainer there, or nowhere."""

    def set_stage(self: "Readings", value: bool) -> None:
        if value or self.stage == stage:
            self.stage = stage if value else None

    return property(lambda self: self.stage == stage, set_stage)


class Readings:
    """The properties of the trainer, all derived from its parts."""

    engine: Any
    module: Any
    callbacks: list[Any]
    loggers: list[Any]
    progress: Progress
    recorder: "Recorder"
    state: TrainerState
    stop_signal: BaseException | None
    stop_requests: "StopRequests"
    default_root_dir: str
    fit_loop: "FitLoop"
    validate_loop: "EvaluationLoop"
    test_loop: "EvaluationLoop"
    predict_loop: "PredictionLoop"
    limit_val_batches: int | float
    num_sanity_val_steps: int
    accumulate_grad_batches: int
    _log_dir: str | None

    @property
    def stage(self) -> Stage | None:
        """What the trainer is doing right now."""
        return self.state.stage

    @stage.setter
    def stage(self, stage: Stage | None) -> None:
        self.state.stage = stage

    @property
    def fn(self) -> str | None:
        """The entry point that runs or ran last."""
        return self.state.fn

    @property
    def lightning_module(self) -> Any:
        """The user's module, unwrapped."""
        return self.module

    @property
    def lightning_optimizers(self) -> list[Any]:
        """The optimizers as the trainer steps them."""
        optimization = self.fit_loop.optimization
        return [] if optimization is None else list(optimization.optimizers)

    @property
    def logger(self) -> Any:
        """The first logger or None; setting it replaces them all."""
        return self.loggers[0] if self.loggers else None

    @logger.setter
    def logger(self, logger: Any) -> None:
        self.loggers = [] if logger is None else [logger]
        self._log_dir = None

    @property
    def log_dir(self) -> str | None:
        """The first logger's directory, else the root; every rank must ask."""
        if self._log_dir is None:
            first = self.logger
            path = getattr(first, "log_dir", None) or getattr(first, "save_dir", None) or self.default_root_dir
            self._log_dir = self.engine.broadcast(os.fspath(path))
        return self._log_dir

    @property
    def callback_metrics(self) -> dict[str, Any]:
        """The latest value of everything logged."""
        return self.recorder.callback_metrics

    @property
    def logged_metrics(self) -> dict[str, Any]:
        """What went to the loggers last."""
        return self.recorder.logged

    @property
    def progress_bar_metrics(self) -> dict[str, float]:
        """The latest values logged with `prog_bar=True`; reads the device."""
        return self.recorder.progress_bar_metrics

    current_epoch = property(lambda self: self.progress.epoch, doc="Finished training epochs.")
    global_step = property(lambda self: self.progress.step, doc="Optimizer steps completed.")
    max_epochs = property(lambda self: self.fit_loop.max_epochs)
    min_epochs = property(lambda self: self.fit_loop.min_epochs or None)
    max_steps = property(lambda self: self.fit_loop.max_steps)
    min_steps = property(lambda self: self.fit_loop.min_steps or None)
    val_check_batch = property(lambda self: self.fit_loop.validation.every, doc="Batches between two validations.")
    num_training_batches = property(lambda self: self.fit_loop.num_batches)
    num_val_batches = property(lambda self: self.validate_loop.num_batches)
    num_test_batches = property(lambda self: self.test_loop.num_batches)
    num_predict_batches = property(lambda self: self.predict_loop.num_batches)
    train_dataloader = property(lambda self: self.fit_loop.given)
    val_dataloaders = property(lambda self: self.validate_loop.given)
    test_dataloaders = property(lambda self: self.test_loop.given)
    predict_dataloaders = property(lambda self: self.predict_loop.given)
    global_rank = property(lambda self: self.engine.global_rank)
    local_rank = property(lambda self: self.engine.local_rank)
    node_rank = property(lambda self: self.engine.node_rank)
    world_size = property(lambda self: self.engine.world_size)
    is_global_zero = property(lambda self: self.engine.is_global_zero)
    scaler = property(lambda self: self.engine.scaler)
    training = _stage_flag(Stage.TRAIN)
    validating = _stage_flag(Stage.VALIDATE)
    testing = _stage_flag(Stage.TEST)
    predicting = _stage_flag(Stage.PREDICT)
    sanity_checking = _stage_flag(Stage.SANITY_CHECK)
    evaluating = property(lambda self: self.stage in (Stage.VALIDATE, Stage.TEST, Stage.SANITY_CHECK))
    interrupted = property(lambda self: self.state.status == "interrupted")
    received_sigterm = property(
        lambda self: isinstance(self.stop_signal, SystemExit) and not self.stop_requests.wants_requeue
    )

    @property
    def num_sanity_val_batches(self) -> list[float]:
        """Batches of the sanity check, by loader."""
        steps = self.num_sanity_val_steps
        return [n if steps == -1 else min(n, steps) for n in self.validate_loop.num_batches]

    @property
    def is_last_batch(self) -> bool:
        """True during the last batch of a training epoch whose length is known, its hooks included."""
        return 0 < self.fit_loop.num_batches <= self.fit_loop.batch_idx + 1

    @property
    def awaits_validation(self) -> bool:
        """True in a fit that will validate and has not yet."""
        return self.enable_validation and self.fit_loop.validation.at is None

    @property
    def enable_validation(self) -> bool:
        """True if fit has something to validate on."""
        source = self.validate_loop.source
        return bool(
            source is not None
            and source.is_defined
            and is_overridden(self.module, "validation_step")
            and self.limit_val_batches
        )

    @property
    def estimated_stepping_batches(self) -> float:
        """Optimizer steps of the whole fit; infinite if unlimited. Requests the training data if it must."""
        fit = self.fit_loop
        if fit.given is None:
            fit.setup_data()
        if fit.num_batches == float("inf"):
            return float("inf") if fit.max_steps == -1 else fit.max_steps
        if fit.max_epochs in (None, -1):
            return float("inf") if fit.max_steps == -1 else fit.max_steps
        steps = -(-int(fit.num_batches) // self.accumulate_grad_batches) * max(fit.max_epochs, 1)
        return steps if fit.max_steps == -1 else min(steps, fit.max_steps)

    @property
    def checkpoint_callbacks(self) -> list[Any]:
        """The callbacks that keep checkpoints."""
        return [cb for cb in self.callbacks if hasattr(cb, "best_model_path")]

    @property
    def checkpoint_callback(self) -> Any:
        """The first of them or None."""
        return next(iter(self.checkpoint_callbacks), None)

    @property
    def early_stopping_callbacks(self) -> list[Any]:
        """The callbacks that end training by a metric."""
        return [cb for cb in self.callbacks if hasattr(cb, "stopped_epoch")]

    @property
    def early_stopping_callback(self) -> Any:
        """The first of them or None."""
        return next(iter(self.early_stopping_callbacks), None)

    @property
    def progress_bar_callback(self) -> Any:
        """The progress bar or None."""
        return next((cb for cb in self.callbacks if hasattr(cb, "print")), None)
