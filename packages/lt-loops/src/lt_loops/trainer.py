"""The trainer that takes objects: an engine, callbacks, loggers, and the limits of the loops."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import lt_checkpoint
import torch
from lt_interfaces import MisconfigurationException, Progress, Stage, is_overridden, rank_zero_info

from lt_loops import arguments, signals, state
from lt_loops.arguments import count, share
from lt_loops.engine import SingleDevice
from lt_loops.evaluation import EvaluationLoop
from lt_loops.hooks import Hooks, Wrap, check_names
from lt_loops.optimization import AutomaticOptimization, ManualOptimization
from lt_loops.optimizers import LRSchedulerConfig, Schedulers, configure
from lt_loops.prediction import PredictionLoop
from lt_loops.readings import Readings, TrainerState
from lt_loops.recorder import Recorder
from lt_loops.selection import select
from lt_loops.sources import Source, transfer
from lt_loops.table import results_table
from lt_loops.training import FitLoop, warn_about_frozen_modes

STEP = {"fit": "training_step", "validate": "validation_step", "test": "test_step"}


class Trainer(Readings):
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
        self.callbacks: list[Any] = _as_list(callbacks)
        self.loggers: list[Any] = _as_list(loggers)
        self.combine = combine
        self.profiler = profiler
        self.limit_train_batches = share("limit_train_batches", limit_train_batches)
        self.limit_val_batches = share("limit_val_batches", limit_val_batches)
        self.limit_test_batches = share("limit_test_batches", limit_test_batches)
        self.limit_predict_batches = share("limit_predict_batches", limit_predict_batches)
        self.overfit_batches = share("overfit_batches", overfit_batches)
        if self.overfit_batches:
            self.limit_val_batches = self.overfit_batches
        self.fast_dev_run = arguments.fast_dev_run(fast_dev_run)
        self.val_check_interval = arguments.interval(val_check_interval)
        self.check_val_every_n_epoch = count("check_val_every_n_epoch", check_val_every_n_epoch, 1, none=True)
        if self.check_val_every_n_epoch is None and 0 < arguments.fraction(self.val_check_interval) < 1:
            raise MisconfigurationException(
                f"`check_val_every_n_epoch=None` counts batches over epochs, and `val_check_interval="
                f"{self.val_check_interval}` is a share of one. Give `val_check_interval` as an integer or a duration."
            )
        self.num_sanity_val_steps = (
            2 if num_sanity_val_steps is None else count("num_sanity_val_steps", num_sanity_val_steps, -1)
        )
        self.log_every_n_steps = 50 if log_every_n_steps is None else count("log_every_n_steps", log_every_n_steps, 0)
        self.accumulate_grad_batches = count("accumulate_grad_batches", accumulate_grad_batches, 1)
        self.gradient_clip_val, self.gradient_clip_algorithm = arguments.clipping(
            gradient_clip_val, gradient_clip_algorithm
        )
        self.inference_mode = inference_mode
        self.use_distributed_sampler = use_distributed_sampler
        self.detect_anomaly = detect_anomaly
        self.reload_dataloaders_every_n_epochs = count(
            "reload_dataloaders_every_n_epochs", reload_dataloaders_every_n_epochs, 0
        )
        self.default_root_dir = os.path.expanduser(os.fspath(default_root_dir or os.getcwd()))
        self.enable_autolog_hparams = enable_autolog_hparams
        max_epochs = count("max_epochs", max_epochs, -1, none=True)
        max_steps = count("max_steps", max_steps, -1)
        if max_epochs is None and max_steps != -1:
            max_epochs = -1
        if self.fast_dev_run:
            max_epochs, max_steps = 1, int(self.fast_dev_run)
            self.limit_train_batches = self.limit_val_batches = int(self.fast_dev_run)
            self.limit_test_batches = self.limit_predict_batches = int(self.fast_dev_run)
            self.num_sanity_val_steps, self.log_every_n_steps = 0, 1
            self.val_check_interval, self.check_val_every_n_epoch = 1.0, 1
        least_steps = count("min_steps", min_steps, 0, none=True) or 0
        least_epochs = count("min_epochs", min_epochs, 0, none=True)
        self.fit_loop = FitLoop(
            self,
            max_epochs,
            (1 if least_steps else 0) if least_epochs is None else least_epochs,
            max_steps,
            least_steps,
        )
        self.validate_loop = EvaluationLoop(self, "validate")
        self.test_loop = EvaluationLoop(self, "test")
        self.predict_loop = PredictionLoop(self)
        self.progress = Progress()
        self.recorder = Recorder(self.engine)
        self.hooks = Hooks()
        self.state = TrainerState()
        self.should_stop = False
        self.stop_signal: BaseException | None = None
        self.module: Any = None
        self.model: Any = None
        self.evaluated: Any = None
        self.datamodule: Any = None
        self.transfer: Callable[[Any, int], Any] | None = None
        self.optimizers: list[Any] = []
        self.lr_scheduler_configs: list[LRSchedulerConfig] = []
        self.schedulers = Schedulers(self, None, [], custom=False)
        self.ckpt_path: str | None = None
        self.needs_batch_indices = False
        self.known_callbacks = 0
        self._fitted: Any = None
        self._log_dir: str | None = None
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
        train_dataloaders, datamodule = _data(train_dataloaders, val_dataloaders, datamodule)
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
        dataloaders, datamodule = _data(dataloaders, None, datamodule)

        def run() -> list[Any] | None:
            return self._predict(return_predictions is not False)

        predictions: list[Any] | None = self._run(
            "predict", model, datamodule, ckpt_path, {"predict": dataloaders}, run
        )
        return predictions

    def predict_iter(
        self, model: Any = None, dataloaders: Any = None, datamodule: Any = None, ckpt_path: Any = None
    ) -> Iterator[Any]:
        """The outputs of every batch, one at a time and in order; nothing is kept, whatever the length."""
        dataloaders, datamodule = _data(dataloaders, None, datamodule)
        yield from self._stream("predict", model, datamodule, ckpt_path, {"predict": dataloaders})

    def _evaluate(
        self, fn: str, loop: EvaluationLoop, model: Any, loaders: Any, ckpt_path: Any, verbose: bool, datamodule: Any
    ) -> list[dict[str, float]]:
        loaders, datamodule = _data(loaders, None, datamodule)

        def run() -> list[dict[str, float]]:
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

        results: list[dict[str, float]] = self._run(fn, model, datamodule, ckpt_path, {fn: loaders}, run)
        return results

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
        self._fitted = self.module

    def _run(
        self, fn: str, model: Any, datamodule: Any, ckpt_path: Any, given: Mapping[str, Any], loop: Callable[[], Any]
    ) -> Any:
        """What all entry points share: set up, load, run, tear down, whatever happens."""
        self._attach(fn, model, datamodule, given)

        def run() -> Any:
            with signals.deferred(self._stop):
                try:
                    self._set_up(fn, ckpt_path)
                    result = loop()
                    if fn == "fit":
                        self.hooks.on_fit_end()
                except BaseException as error:
                    self._fail(error)
                    raise
                self._tear_down(fn, "success")
            return result

        return self.engine.launch(run)

    def _stream(self, fn: str, model: Any, datamodule: Any, ckpt_path: Any, given: Mapping[str, Any]) -> Iterator[Any]:
        self._attach(fn, model, datamodule, given)
        self.engine.launch()
        try:
            self._set_up(fn, ckpt_path)
            self.stage = Stage.PREDICT
            self.predict_loop.setup(self.limit_predict_batches)
            stream = self.predict_loop.stream()
            while True:
                with self.no_grad(inference=True):
                    item = next(stream, None)
                if item is None:
                    break
                yield item[1]
        except BaseException as error:
            self._fail(error)
            raise
        self._tear_down(fn, "success")

    def _attach(self, fn: str, model: Any, datamodule: Any, given: Mapping[str, Any]) -> None:
        """Take the module and the data, and check at once what can be checked before anything runs."""
        if model is None:
            if self.module is None:
                raise TypeError(f"`trainer.{fn}()` was called without a model, and none was used before. Pass one.")
            model = self.module
        model = getattr(model, "_orig_mod", model)
        if not isinstance(model, torch.nn.Module):
            raise TypeError(
                f"`trainer.{fn}` got a `{type(model).__name__}` as the model. Pass a `LightningModule` or an "
                f"`nn.Module` with a `{STEP.get(fn, 'forward')}`."
            )
        self.state = TrainerState("running", fn, Stage.TRAIN if fn == "fit" else Stage(fn))
        self.module, self.datamodule = model, datamodule
        self.stop_signal = None
        required = {"fit": ("training_step", "configure_optimizers"), "predict": ()}.get(fn, (STEP.get(fn, ""),))
        check_names(model, required)
        self.fit_loop.source = self._source("train", given)
        self.validate_loop.source, self.validate_loop.loaders = self._source("validate", given), []
        self.test_loop.source = self._source("test", given)
        self.predict_loop.source = self._source("predict", given)
        self._check_data(fn)
        self._check_modes(fn)

    def _source(self, stage: str, given: Mapping[str, Any]) -> Source:
        return Source(stage, given.get(stage), self.datamodule, self.module)

    def _check_data(self, fn: str) -> None:
        loop: Any = {"fit": self.fit_loop, "validate": self.validate_loop, "test": self.test_loop}.get(
            fn, self.predict_loop
        )
        if not loop.source.is_defined:
            name = {"fit": "train", "validate": "val"}.get(fn, fn)
            raise MisconfigurationException(
                f"`trainer.{fn}` has no data. "
                f"Pass a loader, or define `{name}_dataloader` on the module or a data module."
            )
        if fn != "fit":
            return
        source = self.validate_loop.source
        if source.is_given and not is_overridden(self.module, "validation_step") and self.limit_val_batches:
            raise MisconfigurationException(
                f"There is a validation loader, and `{type(self.module).__name__}` has no `validation_step`. "
                "Define it, or leave the loader out."
            )

    def _check_modes(self, fn: str) -> None:
        if fn != "fit" or getattr(self.module, "automatic_optimization", True):
            return
        wrong = [f"`gradient_clip_val={self.gradient_clip_val}`"] if self.gradient_clip_val else []
        wrong += (
            [f"`accumulate_grad_batches={self.accumulate_grad_batches}`"] if self.accumulate_grad_batches > 1 else []
        )
        if wrong:
            raise MisconfigurationException(
                f"{' and '.join(wrong)} of the trainer and manual optimization of the module contradict each other. "
                "Leave the flag out and do it in `training_step`, e.g. with `self.clip_gradients`."
            )

    def _set_up(self, fn: str, ckpt_path: Any) -> None:
        module, datamodule, engine = self.module, self.datamodule, self.engine
        self.recorder.engine = engine
        for party in (module, datamodule):
            if hasattr(type(party), "trainer") or hasattr(party, "trainer"):
                party.trainer = self
        self._take_module_callbacks()
        self.resolve_hooks()
        self._prepare_data()
        self._log_dir = None
        if self.is_global_zero:
            for logger in self.loggers:
                getattr(logger, "experiment", None)
        self.hooks.setup(fn)
        self.hooks.configure_model()
        path = select(self, ckpt_path, same_model=module is self._fitted)
        self.ckpt_path = path
        checkpoint = None if path is None else engine.load(path)
        if checkpoint is not None:
            state.restore_module(self, checkpoint, str(path))
        self.model = engine.setup_module(module)
        self.evaluated = module
        self.transfer = transfer(engine, module, datamodule)
        if fn == "fit":
            self._set_up_fit(checkpoint, path)

    def _set_up_fit(self, checkpoint: dict[str, Any] | None, path: str | None) -> None:
        module = self.module
        if self._fitted is not module:
            self.recorder.forget()
        optimizers, self.lr_scheduler_configs = configure(module)
        ready = self.engine.setup_optimizers(*optimizers) if optimizers else ()
        ready = [ready] if len(optimizers) == 1 else list(ready)
        self.optimizers = [
            made if getattr(given, "optimizer", None) is made else given
            for made, given in zip(optimizers, ready, strict=True)
        ]
        self.schedulers = Schedulers(
            self, module, self.lr_scheduler_configs, custom=is_overridden(module, "lr_scheduler_step")
        )
        kind = AutomaticOptimization if getattr(module, "automatic_optimization", True) else ManualOptimization
        self.fit_loop.optimization = kind(self, module, self.optimizers)
        if not getattr(module, "automatic_optimization", True):
            self.schedulers = Schedulers(self, module, [], custom=False)
        self.hooks.on_fit_start()
        self._log_hparams()
        if checkpoint is not None:
            state.restore_training(self, checkpoint, str(path))

    def _prepare_data(self) -> None:
        per_node = getattr(self.datamodule or self.module, "prepare_data_per_node", True)
        if (self.engine.local_rank if per_node else self.engine.global_rank) == 0:
            self.hooks.prepare_data()
        self.engine.barrier("prepare_data")

    def _take_module_callbacks(self) -> None:
        """The module's own callbacks replace those of the same type."""
        if not is_overridden(self.module, "configure_callbacks"):
            return
        own = _as_list(self.module.configure_callbacks())
        kept = [cb for cb in self.callbacks if not any(isinstance(new, type(cb)) for new in own)]
        self.callbacks[:] = kept + own
        self.callbacks.sort(key=lambda cb: getattr(cb, "priority", 0))

    def see_new_callbacks(self) -> None:
        """Callbacks that were added or removed since the hooks were resolved take effect."""
        if len(self.callbacks) != self.known_callbacks:
            self.resolve_hooks()

    def resolve_hooks(self) -> None:
        """Fill the hook table from the callbacks there are now."""
        wrap: Wrap | None = getattr(self.profiler, "wrap", None)
        self.hooks.resolve(self, self.module, self.datamodule, wrap)
        self.needs_batch_indices = any(hasattr(cb, "write_on_batch_end") for cb in self.callbacks)
        log, log_dict = (getattr(self.module, name, getattr(self.recorder, name)) for name in ("log", "log_dict"))
        for callback in self.callbacks:
            if not hasattr(type(callback), "log") and hasattr(callback, "__dict__"):
                callback.log, callback.log_dict = log, log_dict
        self.known_callbacks = len(self.callbacks)

    def _log_hparams(self) -> None:
        if not self.enable_autolog_hparams or not self.loggers:
            return
        merged: dict[str, Any] = {}
        for owner in (self.module, self.datamodule):
            if not getattr(owner, "_log_hyperparams", False) or not getattr(owner, "_hparams_name", None):
                continue
            for key, value in owner.hparams_to_save().items():
                if key in merged and _differ(merged[key], value):
                    raise MisconfigurationException(
                        f"The hyperparameter `{key}` is {merged[key]!r} in the module and {value!r} in the data "
                        "module. Rename one, or pass `logger=False` to one `save_hyperparameters`."
                    )
                merged[key] = value
        if self.is_global_zero:
            for logger in self.loggers:
                if merged:
                    logger.log_hyperparams(merged)
                if hasattr(logger, "log_graph"):
                    logger.log_graph(self.module)

    def _stop(self, reason: BaseException) -> bool:
        """Remember why to stop after this step; False the second time."""
        first = self.stop_signal is None
        self.stop_signal = self.stop_signal or reason
        return first

    def _fail(self, error: BaseException) -> None:
        """Tell everybody, close everything; the error itself is raised on by the caller."""
        self.state.status = "interrupted"
        try:
            self.hooks.on_exception(error)
        finally:
            self._tear_down(self.state.fn or "fit", "failed")

    def _tear_down(self, fn: str, status: str) -> None:
        try:
            self.hooks.teardown(fn)
        finally:
            for logger in self.loggers if self.is_global_zero else []:
                logger.finalize(status)
            if status == "success":
                self.state.status = "finished"
            self.stage = None
            if self.engine.device.type != "cpu":
                self.module.to("cpu")

    def log_record(self, record: Mapping[str, float]) -> None:
        """Send a record to all loggers, with the epoch, at the run's step."""
        if not record or not self.loggers or not self.is_global_zero:
            return
        full = {"epoch": self.progress.epoch, **record}
        for logger in self.loggers:
            logger.log_metrics(full, step=self.progress.step)

    def log_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Send a record of a callback's to all loggers now."""
        self.log_record({k: float(v) for k, v in metrics.items()})

    def save_checkpoint(self, filepath: Any, weights_only: bool | None = None, storage_options: Any = None) -> None:
        """Write a checkpoint of the run as it stands; every rank must call."""
        if self.module is None:
            raise AttributeError("`trainer.save_checkpoint` was called before any module was attached. Fit first.")
        for logger in self.loggers if self.is_global_zero else []:
            logger.save()
        self.engine.save(filepath, state.gather(self, bool(weights_only)))

    def remove_checkpoint(self, filepath: Any) -> None:
        """Delete a checkpoint that this run wrote."""
        if self.is_global_zero:
            lt_checkpoint.remove(filepath)

    def link_checkpoint(self, source: Any, target: Any) -> None:
        """Give a checkpoint a second name without writing it again."""
        if self.is_global_zero:
            lt_checkpoint.link(source, target)
        self.engine.barrier("link_checkpoint")

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

    def no_grad(self, inference: bool = False) -> AbstractContextManager[Any]:
        """No gradients inside; inference mode where its tensors cannot leak into training."""
        return torch.inference_mode() if inference and self.inference_mode else torch.no_grad()

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


def _as_list(given: Any) -> list[Any]:
    if given is None:
        return []
    return list(given) if isinstance(given, (list, tuple)) else [given]


def _data(loaders: Any, more: Any, datamodule: Any) -> tuple[Any, Any]:
    """Loaders and data module; a data module in the loaders' place is taken as one."""
    if hasattr(loaders, "train_dataloader") or hasattr(loaders, "prepare_data"):
        if datamodule is not None:
            raise MisconfigurationException("Two data modules were given. Pass one, as `datamodule=`.")
        loaders, datamodule = None, loaders
    if datamodule is not None and (loaders is not None or more is not None):
        raise MisconfigurationException("Both loaders and a data module were given. Pass one or the other.")
    return loaders, datamodule


def _differ(a: Any, b: Any) -> bool:
    try:
        return bool(a != b)
    except (RuntimeError, ValueError):
        return a is not b
