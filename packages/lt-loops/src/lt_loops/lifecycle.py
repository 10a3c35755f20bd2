"""From the call of an entry point to its end: attach, check, set up, run, tear down, whatever happens."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import torch
from lt_interfaces import Stage, is_overridden, rank_zero_warn

from lt_loops import state
from lt_loops.arguments import as_list
from lt_loops.automatic_optimization import AutomaticOptimization
from lt_loops.clock import Clock
from lt_loops.compiled import uncompiled
from lt_loops.destinations import check_folders
from lt_loops.hooks import Hooks, check_callbacks, check_names
from lt_loops.intent import Resume
from lt_loops.manual_optimization import ManualOptimization
from lt_loops.optimizers import LRSchedulerConfig, Schedulers, configure
from lt_loops.preconditions import check_data, check_flags, check_module
from lt_loops.readings import TrainerState
from lt_loops.returned import Returned, Start
from lt_loops.saves import Saves
from lt_loops.selection import next_hpc_path, select
from lt_loops.signals import StopRequests
from lt_loops.sources import Source, transfer


class Lifecycle(Saves):
    """What all entry points share."""

    hooks: Hooks
    datamodule: Any
    profiler: Any
    layer_sync: Any
    schedulers: Schedulers
    model: Any
    evaluated: Any
    transfer: Callable[[Any, int], Any] | None
    optimizers: list[Any]
    rate_names: list[str]
    lr_scheduler_configs: list[LRSchedulerConfig]
    ckpt_path: str | None
    needs_batch_indices: bool
    known_callbacks: int
    enable_autolog_hparams: bool
    gradient_clip_val: float | None
    limit_predict_batches: int | float
    inference_mode: bool
    _fitted: Any
    _asked: Any
    stop_requests: StopRequests
    history: list[dict[str, Any]]

    def _run(
        self, fn: str, model: Any, datamodule: Any, ckpt_path: Any, given: Mapping[str, Any], loop: Callable[[], Any]
    ) -> Any:
        """What all entry points share: set up, load, run, tear down, whatever happens."""
        self._attach(fn, model, datamodule, given)
        result = self.engine.launch(partial(self._work, fn, ckpt_path, loop, Start.here()))
        return result.take(self) if isinstance(result, Returned) else result

    def _work(self, fn: str, ckpt_path: Any, loop: Callable[[], Any], start: Start) -> Any:
        """The run itself, in each process; in those that were started for it rank zero's is packed for the way back."""
        is_elsewhere = start.is_elsewhere()
        with self.stop_requests.heeded():
            try:
                self.clock.timed("set-up", self._set_up)(fn, ckpt_path)
                result = loop()
                if fn == "fit":
                    self.recorder.close("on_fit_end")
                    self.hooks.on_fit_end()
            except BaseException as error:
                requeues = fn == "fit" and error is self.stop_signal and self.stop_requests.wants_requeue
                if requeues:
                    self._save_for_requeue()
                self._fail(error)
                if requeues and self.is_global_zero:
                    self.engine.requeue()
                raise
            self._tear_down(fn, "success")
        return Returned.from_run(self, result) if is_elsewhere else result

    def _stream(self, fn: str, model: Any, datamodule: Any, ckpt_path: Any, given: Mapping[str, Any]) -> Iterator[Any]:
        self._attach(fn, model, datamodule, given)
        self.engine.launch()
        try:
            self.clock.timed("set-up", self._set_up)(fn, ckpt_path)
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
        model = uncompiled(model)
        check_module(model, fn)
        self.state = TrainerState("running", fn, Stage.TRAIN if fn == "fit" else Stage(fn))
        self.module, self.datamodule = model, datamodule
        self.clock = Clock(self.profiler, self.engine)
        self.stop_signal = None
        self.engine.checkpoint_io.on_error = self._stop
        if datamodule is not None:
            check_names(datamodule, ())
        self.fit_loop.source = self._source("train", given)
        self.validate_loop.source, self.validate_loop.loaders = self._source("validate", given), []
        self.test_loop.source = self._source("test", given)
        self.predict_loop.source = self._source("predict", given)
        check_data(self, fn)
        check_flags(self, fn)
        check_folders(self, fn)

    def _source(self, stage: str, given: Mapping[str, Any]) -> Source:
        return Source(stage, given.get(stage), self.datamodule, self.module)

    def _set_up(self, fn: str, ckpt_path: Any) -> None:
        module, datamodule, engine = self.module, self.datamodule, self.engine
        self.recorder.engine = engine
        self.recorder.forget()
        self._log_dir = None
        self.clock.begin(self, fn)
        self._introduce(module, datamodule)
        self.take_module_callbacks()
        self.resolve_hooks()
        self._prepare_data()
        intent = ckpt_path if isinstance(ckpt_path, Resume) else Resume(ckpt_path)
        path = select(self, intent.path, same_model=module is self._fitted)
        self.ckpt_path = path
        checkpoint = None if path is None else engine.load(path)
        if self.is_global_zero:
            for logger in self.loggers:
                getattr(logger, "experiment", None)
        self.hooks.setup(fn)
        if engine.device_mesh is not None:
            module.device_mesh = engine.device_mesh
        self.hooks.configure_model()
        self._introduce(module)
        if checkpoint is not None and is_overridden(module, "on_load_checkpoint"):
            module.on_load_checkpoint(checkpoint)
        if self.layer_sync is not None and engine.world_size > 1:
            self.layer_sync.apply(module)
        self.model = engine.setup_module(module)
        if checkpoint is not None:  # not before: an engine that shards the module has each rank read its part
            state.restore_module(self, checkpoint, str(path), intent.weights_only)
        self.evaluated = module
        self.clock.attach(module)
        move = transfer(engine, module, datamodule)
        self.transfer = move and self.clock.strategy("batch_to_device", move)
        if fn == "fit":
            self._set_up_fit(checkpoint, path, intent)

    def _introduce(self, *parties: Any) -> None:
        """Let those that ask for it know the trainer, their children included."""
        for party in parties:
            if hasattr(type(party), "trainer") or hasattr(party, "trainer"):
                party.trainer = self

    def _set_up_fit(self, checkpoint: dict[str, Any] | None, path: str | None, intent: Resume) -> None:
        self.set_up_optimizers()
        self.hooks.on_fit_start()
        if self.enable_autolog_hparams:
            self.call_loggers.hparams()
        if checkpoint is None:
            return
        if not intent.weights_only:
            state.restore_training(self, checkpoint, str(path))
            intent.apply(self)
        self.history.append(intent.record(str(path), checkpoint.get("global_step", 0)))

    def set_up_optimizers(self) -> None:
        """Make optimizers and schedulers as the module configures them now."""
        module = self.module
        configured = self.clock.module(module, "configure_optimizers", configure)
        optimizers, self.lr_scheduler_configs = configured(module)
        ready = self.engine.setup_optimizers(*optimizers) if optimizers else ()
        ready = [ready] if len(optimizers) == 1 else list(ready)
        self.optimizers = [
            made if getattr(given, "optimizer", None) is made else given
            for made, given in zip(optimizers, ready, strict=True)
        ]
        kinds = [type(optimizer).__name__ for optimizer in self.optimizers]
        self.rate_names = [f"lr-{kind}-{i}" if i else f"lr-{kind}" for i, kind in enumerate(kinds)]
        self.schedulers = Schedulers(
            self, module, self.lr_scheduler_configs, custom=is_overridden(module, "lr_scheduler_step")
        )
        kind = AutomaticOptimization if getattr(module, "automatic_optimization", True) else ManualOptimization
        self.fit_loop.optimization = kind(self, module, self.optimizers)
        if not getattr(module, "automatic_optimization", True):
            self.schedulers = Schedulers(self, module, [], custom=False)

    def _prepare_data(self) -> None:
        per_node = getattr(self.datamodule or self.module, "prepare_data_per_node", True)
        if (self.engine.local_rank if per_node else self.engine.global_rank) == 0:
            self.hooks.prepare_data()
        self.engine.barrier("prepare_data")

    def take_module_callbacks(self) -> None:
        """The module's own callbacks replace those of the same type; asked for once, as they remember things."""
        if self._asked is self.module or self.recorder.silent or not is_overridden(self.module, "configure_callbacks"):
            return
        self._asked = self.module
        own = as_list(self.module.configure_callbacks())
        kept = [cb for cb in self.callbacks if not any(isinstance(new, type(cb)) for new in own)]
        self.callbacks[:] = kept + check_callbacks(own)
        self.callbacks.sort(key=lambda cb: getattr(cb, "priority", 0))

    def see_new_callbacks(self) -> None:
        """Callbacks that were added or removed since the hooks were resolved take effect."""
        if len(self.callbacks) != self.known_callbacks:
            self.resolve_hooks()

    def resolve_hooks(self) -> None:
        """Fill the hook table from the callbacks there are now."""
        wrap = self.clock.hook if self.clock.is_profiling else None
        self.hooks.resolve(self, self.module, self.datamodule, wrap)
        self.needs_batch_indices = any(hasattr(cb, "write_on_batch_end") for cb in self.callbacks)
        log, log_dict = (getattr(self.module, name, getattr(self.recorder, name)) for name in ("log", "log_dict"))
        for callback in self.callbacks:
            if not hasattr(type(callback), "log") and hasattr(callback, "__dict__"):
                callback.log, callback.log_dict = log, log_dict
        self.known_callbacks = len(self.callbacks)

    def no_grad(self, inference: bool = False) -> AbstractContextManager[Any]:
        """No gradients inside; inference mode where its tensors cannot leak into training."""
        return torch.inference_mode() if inference and self.inference_mode else torch.no_grad()

    def _stop(self, reason: BaseException) -> None:
        """Remember why to stop after this step."""
        self.stop_signal = self.stop_signal or reason

    def _save_for_requeue(self) -> None:
        try:
            self.save_checkpoint(next_hpc_path(self))
        except Exception as error:
            rank_zero_warn(f"The state could not be saved before the job is requeued: {error}")

    def _fail(self, error: BaseException) -> None:
        """Tell everybody, close everything; the error itself is raised on by the caller."""
        self.state.status = "interrupted"
        try:
            self.hooks.on_exception(error)
        finally:
            self._tear_down(self.state.fn or "fit", "failed")

    def _tear_down(self, fn: str, status: str) -> None:
        self.recorder.close("teardown")
        try:
            self.hooks.teardown(fn)
        finally:
            self._end_saves(status)
            self.call_loggers.finalize(status)
            if status == "success":
                self.state.status = "finished"
            self.stage = None
            if self.layer_sync is not None:
                self.layer_sync.revert(self.module)
            if self.engine.device.type != "cpu" and not any(
                hasattr(p, "device_mesh") for p in self.module.parameters()
            ):
                self.module.to("cpu")
            self.clock.end(fn)

    def _end_saves(self, status: str) -> None:
        """All files written, all folders free; after a failure its cause must not be hidden by a second one."""
        io = self.engine.checkpoint_io
        io.on_error = None
        try:
            io.flush()
        except Exception as error:
            if status == "success":
                raise
            if error is not self.stop_signal:
                rank_zero_warn(f"A checkpoint could not be written: {error}")
        finally:
            while self.claims:
                self.claims.popitem()[1].release()
