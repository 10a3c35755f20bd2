"""Stretches of a run that leave no trace, for whoever looks for a setting by trying."""

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any, Self

import torch
from lt_interfaces import MisconfigurationException, Progress, Stage, did_you_mean

from lt_loops.arguments import as_list
from lt_loops.clock import Clock, checked
from lt_loops.evaluation import EvaluationLoop
from lt_loops.hooks import Hooks, check_callbacks
from lt_loops.lifecycle import Lifecycle
from lt_loops.logger_calls import LoggerCalls
from lt_loops.optimizers import Schedulers
from lt_loops.prediction import PredictionLoop
from lt_loops.readings import TrainerState
from lt_loops.recorder import Recorder
from lt_loops.signals import StopRequests
from lt_loops.snapshot import Snapshot
from lt_loops.sources import data_of
from lt_loops.training import FitLoop

LOOPS = {"fit": "fit_loop", "validate": "validate_loop", "test": "test_loop", "predict": "predict_loop"}
LIMITS = {
    "fit": "limit_train_batches", "validate": "limit_val_batches", "test": "limit_test_batches",
    "predict": "limit_predict_batches",
}  # fmt: skip


class Trials(Lifecycle):
    """The part of the trainer that tries things out."""

    profiler: Any
    should_stop: bool
    detect_anomaly: bool
    limit_train_batches: int | float
    check_val_every_n_epoch: int | None
    val_check_interval: Any

    def trial(self, *, steps: int | None = None, batches: int | None = None, callbacks: Any = None) -> Self:
        """Run a stretch of what the trainer is about to run, put everything back, and return the trainer that ran it.

        For hooks, `on_fit_start` and later, and for the work of `rehearse`. The stretch uses the live module, data and
        optimizers; of callbacks it has only those given, and no loggers. Schedulers stand still. Afterwards, also after
        an error, weights, optimizers, modes, metrics, attributes and generators are as they were, bit for bit.

        Args:
            steps: Optimizer steps to train for, over as many epochs as that takes.
            batches: Batches to evaluate on, or to train on in one epoch that ends with as many of validation.
            callbacks: Callbacks of the stretch.
        """
        fn = self.fn or ""
        self._check_trial(fn, steps, batches)
        inner = self._quiet()
        inner.state = TrainerState("running", fn, Stage.TRAIN if fn == "fit" else Stage(fn))
        inner.limit_val_batches = _fewer(inner.limit_val_batches, steps or batches or 0)
        schedulers = [config.scheduler for config in self.lr_scheduler_configs]
        with self._as_it_was(self.module, self.datamodule, *self.optimizers, *schedulers, *self._given()) as before:
            inner.callbacks = [_Watch(self, before), *check_callbacks(as_list(callbacks))]
            inner._introduce(inner.module, inner.datamodule)
            inner.resolve_hooks()
            if fn == "fit":
                inner._try_training(type(self.fit_loop.optimization), steps, batches)
            else:
                inner._try_evaluation(fn, batches or 0, before)
        return inner

    def rehearse(
        self,
        fn: str,
        work: Callable[[Any, Any], Any],
        model: Any,
        train_dataloaders: Any = None,
        val_dataloaders: Any = None,
        dataloaders: Any = None,
        datamodule: Any = None,
    ) -> Any:
        """Set up as for `fn`, call `work(trainer, module)` in place of its loop, put everything back; what it returned.

        The trainer that `work` gets is this one without callbacks, loggers and profiler; nothing is written. Trials run
        on it. `fn` is "fit", "validate", "test" or "predict"; loaders are given as for that.
        """
        if fn not in LOOPS:
            raise ValueError(f"There is no `trainer.{fn}` to rehearse. {did_you_mean(fn, LOOPS)}")
        if fn == "fit":
            train_dataloaders, datamodule = data_of(train_dataloaders, val_dataloaders, datamodule)
            given = {"train": train_dataloaders, "validate": val_dataloaders}
        else:
            dataloaders, datamodule = data_of(dataloaders, None, datamodule)
            given = {fn: dataloaders}
        inner = self._quiet()
        inner.recorder.silent = True  # so that the module's own callbacks stay out
        module = Snapshot(model)
        try:
            with self._as_it_was(datamodule, *given.values()):
                return inner._run(fn, model, datamodule, None, given, partial(inner._do, work))
        finally:
            if not _is_sharded(model):  # then its trials have put it back, and it stays sharded
                module.restore()

    def _do(self, work: Callable[[Any, Any], Any]) -> Any:
        return work(self, self.module)

    def request_anew(self) -> None:
        """Ask for the loaders of the running loop again, after something that they depend on was changed."""
        fn = self.fn or "fit"
        loop: Any = getattr(self, LOOPS[fn])
        if fn == "fit":
            loop.setup_data()
            return
        collection = getattr(loop, "collection", None)
        loop.setup(getattr(self, LIMITS[fn]))
        if collection is not None:
            loop.collection = collection  # the recorder is collecting into it

    def _check_trial(self, fn: str, steps: int | None, batches: int | None) -> None:
        if self.state.status != "running" or self.model is None or (fn == "fit" and not self.fit_loop.optimization):
            raise RuntimeError(
                "`trainer.trial` was called while nothing is set up to run. "
                "Call it in a hook from `on_fit_start` on, or in the work of `trainer.rehearse`."
            )
        if (steps is None) == (batches is None) or (steps is not None and fn != "fit"):
            raise ValueError(
                f"A trial of `{fn}` got `steps={steps}` and `batches={batches}`. Give one of them: steps to train for, "
                "or batches to train or evaluate on."
            )
        for loader in self._given():
            if isinstance(loader, Iterator):
                raise MisconfigurationException(
                    f"The data is a `{type(loader).__name__}`, which can be read once, and a trial would use it up. "
                    "Give a loader that starts again with each `iter`."
                )

    def _given(self) -> list[Any]:
        """The loaders that were given to the entry point."""
        sources = [getattr(self, loop).source for loop in LOOPS.values()]
        return [source.given for source in sources if source.given is not None]

    def _quiet(self) -> Self:
        """This trainer at its start, without callbacks, loggers and profiler."""
        inner, fit = copy.copy(self), self.fit_loop
        inner.callbacks, inner.loggers, inner.known_callbacks = [], [], 0
        inner.profiler = checked(None)
        inner.clock = Clock(inner.profiler, inner.engine)
        most = 1000 if fit.max_epochs is None else fit.max_epochs
        inner.fit_loop = FitLoop(inner, most, fit.min_epochs, fit.max_steps, fit.min_steps)
        inner.validate_loop, inner.test_loop = EvaluationLoop(inner, "validate"), EvaluationLoop(inner, "test")
        inner.predict_loop = PredictionLoop(inner)
        for loop in LOOPS.values():
            getattr(inner, loop).source = getattr(self, loop).source
        inner.progress, inner.recorder, inner.hooks = Progress(), Recorder(inner.engine), Hooks()
        inner.state, inner.should_stop, inner.stop_signal = TrainerState(), False, None
        inner.stop_requests, inner.call_loggers = StopRequests(inner), LoggerCalls(inner)
        inner.num_sanity_val_steps, inner.ckpt_path = 0, None
        return inner

    @contextmanager
    def _as_it_was(self, *objects: Any) -> Iterator[Snapshot]:
        """Everything is put back after the block, also after an error."""
        _reshard(self.module)
        before, scaler = Snapshot(*objects), copy.deepcopy(self.engine.state_dict())
        try:
            yield before
        finally:
            _reshard(self.module)
            before.restore()
            self.engine.load_state_dict(scaler)

    def _try_training(self, optimization: Any, steps: int | None, batches: int | None) -> None:
        fit, module = self.fit_loop, self.module
        self.schedulers = Schedulers(self, module, [], custom=False)
        fit.optimization = optimization(self, module, self.optimizers)
        fit.min_epochs = fit.min_steps = 0
        if batches is None:
            fit.max_epochs, fit.max_steps = -1, int(steps or 0)
        else:
            fit.max_epochs, fit.max_steps = 1, -1
            self.limit_train_batches = _fewer(self.limit_train_batches, batches)
            self.check_val_every_n_epoch, self.val_check_interval = 1, 1.0
        anomaly = torch.autograd.set_detect_anomaly(True) if self.detect_anomaly else nullcontext()
        with anomaly, torch.enable_grad():
            fit.run()

    def _try_evaluation(self, fn: str, batches: int, before: Snapshot) -> None:
        loop: Any = getattr(self, LOOPS[fn])
        loop.setup(_fewer(getattr(self, LIMITS[fn]), batches))
        before.add(loop.given)
        with self.no_grad(inference=True):
            loop.run(False) if fn == "predict" else loop.run()


class _Watch:
    """Heeds an interrupt of the run around the trial, and has what the trial requested put back."""

    def __init__(self, trainer: Any, before: Snapshot) -> None:
        self.trainer, self.before = trainer, before

    def on_train_start(self, inner: Any, module: Any) -> None:
        for loader in (inner.fit_loop.data.loader, inner.validate_loop.given):
            self.before.add(loader)

    def on_train_batch_end(self, *_: Any) -> None:
        """Several ranks go on: which of them are to stop is agreed outside of trials."""
        if self.trainer.stop_signal is not None and self.trainer.world_size == 1:
            raise self.trainer.stop_signal

    on_validation_batch_end = on_test_batch_end = on_predict_batch_end = on_train_batch_end


def _is_sharded(module: torch.nn.Module) -> bool:
    return any(hasattr(p, "device_mesh") for p in module.parameters())


def _reshard(module: torch.nn.Module | None) -> None:
    """Have parts that torch has gathered for a forward pass hold their shards again, which are what is kept."""
    parts: Iterable[Any] = () if module is None else module.modules()
    for part in parts:
        if hasattr(part, "reshard") and hasattr(part, "unshard"):
            part.reshard()


def _fewer(limit: int | float, batches: int) -> int:
    """The number of batches, or fewer if the trainer is told to take fewer."""
    return min(limit, batches) if isinstance(limit, int) else batches if limit else 0
