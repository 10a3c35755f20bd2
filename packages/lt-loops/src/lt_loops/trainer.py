"""The trainer that takes objects: an engine, callbacks, loggers, and the limits of the loops."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any

import lt_checkpoint
import torch
from lt_interfaces import MisconfigurationException, Progress, Stage, rank_zero_info

from lt_loops import arguments, rollback
from lt_loops.arguments import Checks, as_list, count, flag, share
from lt_loops.clock import Clock, checked
from lt_loops.engine import SingleDevice
from lt_loops.evaluation import EvaluationLoop
from lt_loops.hooks import Hooks, check_callbacks
from lt_loops.logger_calls import LoggerCalls
from lt_loops.optimizers import LRSchedulerConfig, Schedulers
from lt_loops.preconditions import warn_about_frozen_modes
from lt_loops.prediction import PredictionLoop
from lt_loops.readings import TrainerState
from lt_loops.recorder import Recorder
from lt_loops.reduction import as_float
from lt_loops.signals import StopRequests
from lt_loops.sources import data_of
from lt_loops.table import results_table
from lt_loops.training import FitLoop
from lt_loops.trial import Trials


class Trainer(Trials):
    """Fits, validates, tests and predicts with any module that has the step methods; no base class is needed.

    Takes objects only; `lt.Trainer` adds the flags. Without an engine the module trains in this process, where it is.
    """

    def __init__(
        self,
        *,
        engine: Any = None,
        callbacks: Any = None,
        loggers: Any = None,
        combine: Callable[[Any, str], Any] | None = None,
        layer_sync: Any = None,
        profiler: Any = None,
        max_epochs: int | None = None,
        min_epochs: int | None = None,
        max_steps: int = -1,
        min_steps: int | None = None,
        limit_train_batches: int | float | None = None,
        limit_val_batches: int | float | None = None,
        limit_test_batches: int | float | None = None,
        limit_predict_batches: int | float | None = None,
        fast_dev_run: bool | int = False,
        overfit_batches: int | float = 0.0,
        val_check_interval: Any = None,
        check_val_every_n_epoch: int | None = 1,
        num_sanity_val_steps: int | None = None,
        log_every_n_steps: int | None = None,
        accumulate_grad_batches: int = 1,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
        inference_mode: bool = True,
        use_distributed_sampler: bool = True,
        detect_anomaly: bool = False,
        reload_dataloaders_every_n_epochs: int = 0,
        default_root_dir: Any = None,
        enable_autolog_hparams: bool = True,
    ) -> None:
        self.engine = SingleDevice() if engine is None else engine
        self.callbacks: list[Any] = check_callbacks(as_list(callbacks))
        self.loggers: list[Any] = as_list(loggers)
        self.combine = combine
        self.layer_sync = layer_sync
        self.profiler = checked(profiler)
        self.clock = Clock(self.profiler, self.engine)
        with Checks() as check:
            self.limit_train_batches = check(share, "limit_train_batches", limit_train_batches)
            self.limit_val_batches = check(share, "limit_val_batches", limit_val_batches)
            self.limit_test_batches = check(share, "limit_test_batches", limit_test_batches)
            self.limit_predict_batches = check(share, "limit_predict_batches", limit_predict_batches)
            self.overfit_batches = check(share, "overfit_batches", overfit_batches)
            self.fast_dev_run = check(arguments.fast_dev_run, fast_dev_run)
            self.val_check_interval = check(arguments.interval, val_check_interval)
            self.check_val_every_n_epoch = check(
                count, "check_val_every_n_epoch", check_val_every_n_epoch, least=1, none=True
            )
            check(arguments.validation_agrees, self.val_check_interval, check_val_every_n_epoch)
            self.num_sanity_val_steps = check(count, "num_sanity_val_steps", num_sanity_val_steps, least=-1, default=2)
            self.log_every_n_steps = check(count, "log_every_n_steps", log_every_n_steps, least=0, default=50)
            self.accumulate_grad_batches = check(count, "accumulate_grad_batches", accumulate_grad_batches, least=1)
            self.gradient_clip_val = check(arguments.clip_val, gradient_clip_val)
            self.gradient_clip_algorithm = check(arguments.clip_algorithm, gradient_clip_algorithm)
            self.reload_dataloaders_every_n_epochs = check(
                count, "reload_dataloaders_every_n_epochs", reload_dataloaders_every_n_epochs, least=0
            )
            self.inference_mode = check(flag, "inference_mode", inference_mode)
            self.use_distributed_sampler = check(flag, "use_distributed_sampler", use_distributed_sampler)
            self.detect_anomaly = check(flag, "detect_anomaly", detect_anomaly)
            self.enable_autolog_hparams = check(flag, "enable_autolog_hparams", enable_autolog_hparams)
            max_epochs = check(count, "max_epochs", max_epochs, least=-1, none=True)
            min_epochs = check(count, "min_epochs", min_epochs, least=0, none=True)
            max_steps = check(count, "max_steps", max_steps, least=-1)
            min_steps = check(count, "min_steps", min_steps, least=0, none=True) or 0
            check(arguments.limits_agree, max_epochs, min_epochs, max_steps, min_steps)
        if self.overfit_batches:
            self.limit_val_batches = self.overfit_batches
        self.default_root_dir = os.path.expanduser(os.fspath(default_root_dir or os.getcwd()))
        if max_epochs is None and max_steps != -1:
            max_epochs = -1
        if self.fast_dev_run:
            max_epochs, max_steps = 1, int(self.fast_dev_run)
            self.limit_train_batches = self.limit_val_batches = int(self.fast_dev_run)
            self.limit_test_batches = self.limit_predict_batches = int(self.fast_dev_run)
            self.num_sanity_val_steps, self.log_every_n_steps = 0, 1
            self.val_check_interval, self.check_val_every_n_epoch = 1.0, 1
        if min_epochs is None:
            min_epochs = 1 if min_steps else 0
        self.fit_loop = FitLoop(self, max_epochs, min_epochs, max_steps, min_steps)
        self.validate_loop = EvaluationLoop(self, "validate")
        self.test_loop = EvaluationLoop(self, "test")
        self.predict_loop = PredictionLoop(self)
        self.progress = Progress()
        self.recorder = Recorder(self.engine)
        self.hooks = Hooks()
        self.state = TrainerState()
        self.should_stop = False
        self.stop_signal: BaseException | None = None
        self.stop_requests = StopRequests(self)
        self.call_loggers = LoggerCalls(self)
        self.module: Any = None
        self.model: Any = None
        self.evaluated: Any = None
        self.datamodule: Any = None
        self.transfer: Callable[[Any, int], Any] | None = None
        self.optimizers: list[Any] = []
        self.rate_names: list[str] = []
        """Under which name the rate of each optimizer is shown."""
        self.lr_scheduler_configs: list[LRSchedulerConfig] = []
        self.schedulers = Schedulers(self, None, [], custom=False)
        self.ckpt_path: str | None = None
        self.needs_batch_indices = False
        self.known_callbacks = 0
        self._fitted: Any = None
        self._asked: Any = None
        self.history: list[dict[str, Any]] = []
        """Each start of this run from a checkpoint: path, step, what was taken and what was changed."""
        self._log_dir: str | None = None
        self.claims: dict[str, lt_checkpoint.Claim] = {}
        self.callbacks.sort(key=lambda cb: getattr(cb, "priority", 0))

    def fit(
        self,
        model: Any,
        train_dataloaders: Any = None,
        val_dataloaders: Any = None,
        datamodule: Any = None,
        ckpt_path: Any = None,
        weights_only: bool | None = None,
    ) -> None:
        """Train, validating along the way; a second call on the same trainer goes on where the first one stopped."""
        train_dataloaders, datamodule = data_of(train_dataloaders, val_dataloaders, datamodule)
        if self.fit_loop.max_epochs is None and self.fit_loop.max_steps == -1 and not self._has_time_limit():
            self.fit_loop.max_epochs = 1000
            rank_zero_info("Neither `max_epochs` nor `max_steps` was given: training for at most 1000 epochs.")
        self.should_stop = False
        self._run(
            "fit", model, datamodule, ckpt_path, {"train": train_dataloaders, "validate": val_dataloaders}, self._fit
        )

    def validate(
        self,
        model: Any = None,
        dataloaders: Any = None,
        ckpt_path: Any = None,
        verbose: bool = True,
        datamodule: Any = None,
        weights_only: bool | None = None,
    ) -> list[dict[str, float]]:
        """Metrics over the validation data, a dict per loader."""
        return self._evaluate("validate", self.validate_loop, model, dataloaders, ckpt_path, verbose, datamodule)

    def test(
        self,
        model: Any = None,
        dataloaders: Any = None,
        ckpt_path: Any = None,
        verbose: bool = True,
        datamodule: Any = None,
        weights_only: bool | None = None,
    ) -> list[dict[str, float]]:
        """Metrics over the test data, a dict per loader."""
        return self._evaluate("test", self.test_loop, model, dataloaders, ckpt_path, verbose, datamodule)

    def predict(
        self,
        model: Any = None,
        dataloaders: Any = None,
        datamodule: Any = None,
        return_predictions: bool | None = None,
        ckpt_path: Any = None,
        weights_only: bool | None = None,
    ) -> list[Any] | None:
        """The outputs of every batch on the CPU, a list per loader if there are several."""
        dataloaders, datamodule = data_of(dataloaders, None, datamodule)

        run = partial(self._predict, return_predictions is not False)
        predictions: list[Any] | None = self._run(
            "predict", model, datamodule, ckpt_path, {"predict": dataloaders}, run
        )
        return predictions

    def predict_iter(
        self, model: Any = None, dataloaders: Any = None, datamodule: Any = None, ckpt_path: Any = None
    ) -> Iterator[Any]:
        """The outputs of every batch, one at a time and in order; nothing is kept, whatever the length."""
        dataloaders, datamodule = data_of(dataloaders, None, datamodule)
        yield from self._stream("predict", model, datamodule, ckpt_path, {"predict": dataloaders})

    def _evaluate(
        self, fn: str, loop: EvaluationLoop, model: Any, loaders: Any, ckpt_path: Any, verbose: bool, datamodule: Any
    ) -> list[dict[str, float]]:
        loaders, datamodule = data_of(loaders, None, datamodule)
        run = partial(self._evaluated_rows, fn, loop, verbose)
        results: list[dict[str, float]] = self._run(fn, model, datamodule, ckpt_path, {fn: loaders}, run)
        return results

    def _evaluated_rows(self, fn: str, loop: EvaluationLoop, verbose: bool) -> list[dict[str, float]]:
        limit = self.limit_val_batches if fn == "validate" else self.limit_test_batches
        if not limit:
            return []
        self.stage = Stage(fn)
        loop.setup(limit)
        if not any(loop.num_batches):
            raise MisconfigurationException(
                f"The loaders to {fn} on have no batches. Check that their datasets are not empty."
            )
        with self.no_grad(inference=True):
            rows = [{k: float(v) for k, v in row.items()} for row in loop.run()]
        if verbose and any(rows):
            self.print(results_table(fn, rows))
        return rows

    def _predict(self, keep: bool) -> list[Any] | None:
        if not self.limit_predict_batches:
            return None
        self.stage = Stage.PREDICT
        self.predict_loop.setup(self.limit_predict_batches)
        with self.no_grad(inference=True):
            return self.predict_loop.run(keep)

    def _fit(self) -> None:
        self.stage = Stage.TRAIN
        warn_about_frozen_modes(self.module)
        self.fit_loop.sanity_check()
        with torch.autograd.set_detect_anomaly(True) if self.detect_anomaly else nullcontext():
            self.fit_loop.run()
        self.flush_checkpoints()
        self._fitted = self.module

    def log_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Send a record of a callback's to all loggers now, and let other callbacks see it."""
        self.recorder.finished.update({name: as_float(value) for name, value in metrics.items()})
        self.call_loggers.record({name: float(value) for name, value in metrics.items()})

    def roll_back(self, before_step: int, without: Iterable[tuple[int, int]] = ()) -> None:
        """Leave this training batch and go on from the newest good checkpoint of fewer steps than `before_step`.

        Batches named in `without`, as (epoch, index in it), are left out from now on. Every rank must call, from a hook
        of a training batch; RuntimeError if this run has written no such checkpoint.
        """
        rollback.request(self, before_step, without)

    def manual_backward(self, loss: Any, *args: Any, **kwargs: Any) -> None:
        """Backward of a module that optimizes by hand."""
        self.fit_loop.optimization.backward(loss, *args, **kwargs)

    def combined(self, loaders: Any, mode: str) -> Any:
        """Several loaders as one."""
        if hasattr(loaders, "iterables") and hasattr(loaders, "mode"):
            return loaders
        if self.combine is None:
            raise MisconfigurationException(
                f"Training got a {type(loaders).__name__} of loaders. "
                "Pass `combine=lt_data.CombinedLoader` to the trainer (`pip install lt-data`), or one loader."
            )
        return self.combine(loaders, mode)

    def setup_validation(self) -> None:
        """Request the validation loaders for use within fit."""
        self.validate_loop.setup(self.limit_val_batches)
        if self.num_sanity_val_steps and not any(self.validate_loop.num_batches):
            rank_zero_info("The validation loaders have no batches.")

    def agree(self, decision: bool) -> bool:
        """True on all ranks if it is True on any."""
        if self.engine.world_size == 1:
            return decision
        flag = torch.tensor(float(decision), device=self.engine.device)
        return bool(self.engine.all_reduce(flag, "max").item())

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Print on rank zero, above a progress bar."""
        if not self.is_global_zero:
            return
        bar = self.progress_bar_callback
        (bar.print if bar is not None else print)(*args, **kwargs)

    def _has_time_limit(self) -> bool:
        return any(hasattr(cb, "time_remaining") for cb in self.callbacks)
