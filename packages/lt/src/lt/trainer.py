"""The trainer with flags: each becomes an object, then `lt_loops.Trainer` does the work."""

from __future__ import annotations

import inspect
import time
from importlib.util import find_spec
from typing import Any

import lt_accel
import lt_callbacks
import lt_checkpoint
import lt_data
import lt_loggers
import lt_loops
import torch
from lt_interfaces import Callback, MisconfigurationException
from lt_loops import profilers

from lt.argparse_arguments import ArgparseArguments
from lt.environment import with_environment_defaults
from lt.messages import let_messages_be_seen, summary
from lt.old_flags import translate
from lt.plugs import resolve

CALLBACKS = {name: name for name in dir(lt_callbacks)}
LOGGERS = {
    "comet": "CometLogger",
    "csv": "CSVLogger",
    "html": "HTMLLogger",
    "mlflow": "MLFlowLogger",
    "tensorboard": "TensorBoardLogger",
    "wandb": "WandbLogger",
}
PROFILERS = {"advanced": "AdvancedProfiler", "pytorch": "PyTorchProfiler", "simple": "SimpleProfiler"}


class Trainer(ArgparseArguments, lt_loops.Trainer):
    """Fits, validates, tests and predicts with a `LightningModule` or any module that has the step methods.

    Args:
        accelerator: "cpu", "gpu", "cuda", "mps", "auto", or an accelerator object.
        strategy: "auto", "ddp", "ddp_spawn", ... or a strategy object.
        devices: How many devices or processes, which (a list, "0,2"), -1 for all, or "auto".
        num_nodes: Number of machines.
        precision: "32-true", "16-mixed", "bf16-mixed", "16-true", "bf16-true", "64-true", or 32, 16, "bf16", 64.
        logger: False for none, a logger or a list; by default TensorBoard, CSV and HTML files in one run directory.
        callbacks: A callback or a list; objects with hook methods.
        fast_dev_run: Run this many batches of everything, log and save nothing.
        max_epochs: Stop after this many epochs; -1 for no limit.
        min_epochs: Train at least this many epochs.
        max_steps: Stop after this many optimizer steps; -1 for no limit.
        min_steps: Train at least this many optimizer steps.
        max_time: Stop after this time: "DD:HH:MM:SS", a timedelta or a dict for one.
        limit_train_batches: Batches of an epoch to train on: a number (int) or a share (float).
        limit_val_batches: Batches to validate on: a number (int) or a share (float).
        limit_test_batches: Batches to test on: a number (int) or a share (float).
        limit_predict_batches: Batches to predict: a number (int) or a share (float).
        overfit_batches: Train on the same few batches in every epoch: a number (int) or a share (float).
        val_check_interval: Validate after a share of an epoch (float), a number of batches (int) or a duration.
        check_val_every_n_epoch: Validate every this many epochs; None counts batches over epochs.
        num_sanity_val_steps: Validation batches to try before training; -1 for all, 0 for none.
        log_every_n_steps: Optimizer steps between two records; 0 for none.
        enable_checkpointing: False keeps no checkpoints.
        enable_progress_bar: False shows no progress.
        enable_model_summary: False shows no summary.
        accumulate_grad_batches: Batches whose gradients make one optimizer step.
        gradient_clip_val: Clip gradients to this norm or value.
        gradient_clip_algorithm: "norm" or "value".
        deterministic: True for torch's deterministic algorithms, "warn" to warn where there are none.
        benchmark: Let cuDNN search for the fastest algorithms.
        inference_mode: False evaluates under `no_grad` instead of inference mode.
        use_distributed_sampler: False leaves loaders as they are on several processes.
        profiler: "simple", "advanced", "pytorch", or a profiler object.
        detect_anomaly: Find the operation that made a NaN in backward; slow.
        barebones: Nothing but the loop, to measure its cost.
        plugins: A precision, cluster environment, `CheckpointIO` or layer synchronisation, one of each at most.
        sync_batchnorm: Compute batch statistics over all processes.
        reload_dataloaders_every_n_epochs: Request the loaders anew every this many epochs.
        default_root_dir: Where logs and checkpoints go; the current directory by default.
        enable_autolog_hparams: False logs no hyperparameters.
    """

    seed_everything = staticmethod(lt_accel.seed_everything)

    @with_environment_defaults
    def __init__(
        self,
        *,
        accelerator: str | lt_accel.Accelerator | Any = "auto",
        strategy: str | lt_accel.Strategy | Any = "auto",
        devices: Any = "auto",
        num_nodes: int = 1,
        precision: Any = None,
        logger: lt_loggers.Logger | list[lt_loggers.Logger | str] | bool | str | Any = None,
        callbacks: Callback | list[Callback | str] | str | Any = None,
        fast_dev_run: bool | int = False,
        max_epochs: int | None = None,
        min_epochs: int | None = None,
        max_steps: int = -1,
        min_steps: int | None = None,
        max_time: Any = None,
        limit_train_batches: int | float | None = None,
        limit_val_batches: int | float | None = None,
        limit_test_batches: int | float | None = None,
        limit_predict_batches: int | float | None = None,
        overfit_batches: int | float = 0.0,
        val_check_interval: Any = None,
        check_val_every_n_epoch: int | None = 1,
        num_sanity_val_steps: int | None = None,
        log_every_n_steps: int | None = None,
        enable_checkpointing: bool | None = None,
        enable_progress_bar: bool | None = None,
        enable_model_summary: bool | None = None,
        accumulate_grad_batches: int = 1,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
        deterministic: Any = None,
        benchmark: bool | None = None,
        inference_mode: bool = True,
        use_distributed_sampler: bool = True,
        profiler: str | profilers.Profiler | Any = None,
        detect_anomaly: bool = False,
        barebones: bool = False,
        plugins: lt_accel.Precision
        | lt_accel.ClusterEnvironment
        | lt_checkpoint.CheckpointIO
        | list[lt_accel.Precision | lt_accel.ClusterEnvironment | lt_checkpoint.CheckpointIO | Any]
        | Any = None,
        sync_batchnorm: bool = False,
        reload_dataloaders_every_n_epochs: int = 0,
        default_root_dir: Any = None,
        enable_autolog_hparams: bool = True,
        **old: Any,
    ) -> None:
        if old:
            engine = {"accelerator": accelerator, "devices": devices, "strategy": strategy}
            new = translate(old, list(inspect.signature(Trainer.__init__).parameters)[1:])
            accelerator, devices, strategy = ({**engine, **new}[k] for k in engine)
            enable_checkpointing = new.get("enable_checkpointing", enable_checkpointing)
            enable_progress_bar = new.get("enable_progress_bar", enable_progress_bar)
            enable_model_summary = new.get("enable_model_summary", enable_model_summary)
            use_distributed_sampler = new.get("use_distributed_sampler", use_distributed_sampler)
        if barebones:
            _check_barebones(
                logger=logger, enable_checkpointing=enable_checkpointing, enable_progress_bar=enable_progress_bar,
                enable_model_summary=enable_model_summary, num_sanity_val_steps=num_sanity_val_steps,
                log_every_n_steps=log_every_n_steps, fast_dev_run=fast_dev_run, detect_anomaly=detect_anomaly,
                profiler=profiler,
            )  # fmt: skip
            logger = enable_checkpointing = enable_progress_bar = enable_model_summary = False
            num_sanity_val_steps = log_every_n_steps = 0
        _set_torch_flags(deterministic, benchmark)
        let_messages_be_seen()
        self.barebones, self.num_nodes = barebones, num_nodes
        layer_sync, plugins = _layer_sync(sync_batchnorm, _as_list(plugins))
        self.fabric = lt_accel.Fabric(
            accelerator=accelerator, strategy=strategy, devices=devices, num_nodes=num_nodes, precision=precision,
            plugins=plugins,
        )  # fmt: skip
        callbacks = [resolve("callbacks", cb, lt_callbacks, CALLBACKS) for cb in _as_list(callbacks)]
        callbacks += _default_callbacks(
            callbacks, max_time, enable_checkpointing, enable_progress_bar, enable_model_summary
        )
        super().__init__(
            engine=self.fabric, callbacks=callbacks, loggers=_loggers(logger, default_root_dir, bool(fast_dev_run)),
            combine=_combine, layer_sync=layer_sync,
            profiler=resolve("profilers", profiler, profilers, PROFILERS), max_epochs=max_epochs, min_epochs=min_epochs,
            max_steps=max_steps, min_steps=min_steps, limit_train_batches=limit_train_batches,
            limit_val_batches=limit_val_batches, limit_test_batches=limit_test_batches,
            limit_predict_batches=limit_predict_batches, fast_dev_run=fast_dev_run, overfit_batches=overfit_batches,
            val_check_interval=val_check_interval, check_val_every_n_epoch=check_val_every_n_epoch,
            num_sanity_val_steps=num_sanity_val_steps, log_every_n_steps=log_every_n_steps,
            accumulate_grad_batches=accumulate_grad_batches, gradient_clip_val=gradient_clip_val,
            gradient_clip_algorithm=gradient_clip_algorithm, inference_mode=inference_mode,
            use_distributed_sampler=use_distributed_sampler, detect_anomaly=detect_anomaly,
            reload_dataloaders_every_n_epochs=reload_dataloaders_every_n_epochs, default_root_dir=default_root_dir,
            enable_autolog_hparams=enable_autolog_hparams,
        )  # fmt: skip
        self.recorder.silent = barebones

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)  # in a process that was started for a run
        let_messages_be_seen()

    def fit(
        self,
        model: Any,
        train_dataloaders: Any = None,
        val_dataloaders: Any = None,
        datamodule: Any = None,
        ckpt_path: Any = None,
        weights_only: bool | None = None,
    ) -> None:
        """Train; see `lt_loops.Trainer.fit`. Ends by saying what was reached and where everything is."""
        start = time.monotonic()
        super().fit(model, train_dataloaders, val_dataloaders, datamodule, ckpt_path, weights_only)
        if self.progress_bar_callback is not None and not self.fast_dev_run:
            self.print(summary(self, time.monotonic() - start))

    strategy = property(lambda self: self.fabric.strategy)
    accelerator = property(lambda self: self.fabric.accelerator)
    precision = property(lambda self: self.fabric.precision.precision, doc='The precision\'s name, e.g. "32-true".')
    precision_plugin = property(lambda self: self.fabric.precision)
    num_devices = property(lambda self: self.world_size // self.num_nodes, doc="Devices of each machine.")
    device_ids = property(lambda self: list(range(self.num_devices)))
    distributed_sampler_kwargs = property(
        lambda self: {"num_replicas": self.world_size, "rank": self.global_rank} if self.world_size > 1 else None
    )
    init_module = property(lambda self: self.fabric.init_module)


def _combine(loaders: Any, mode: Any) -> Any:
    return lt_data.CombinedLoader(loaders, mode)


def _as_list(given: Any) -> list[Any]:
    if given is None:
        return []
    return list(given) if isinstance(given, (list, tuple)) else [given]


def _layer_sync(sync_batchnorm: bool, plugins: list[Any]) -> tuple[Any, list[Any]]:
    """What replaces layers by ones that are synchronised over the ranks, and the plugins that are the engine's."""
    found = [p for p in plugins if hasattr(p, "apply") and hasattr(p, "revert")]
    if len(found) + bool(sync_batchnorm) > 1:
        raise MisconfigurationException(
            f"`sync_batchnorm={sync_batchnorm}` and {len(found)} plugins would replace layers. Leave one of them."
        )
    return lt_accel.TorchSyncBatchNorm() if sync_batchnorm else next(iter(found), None), [
        p for p in plugins if p not in found
    ]


def _check_barebones(**given: Any) -> None:
    on = [name for name, value in given.items() if value not in (None, False, 0)]
    if on:
        raise MisconfigurationException(
            f"`barebones=True` turns everything off, and {', '.join(f'`{n}={given[n]!r}`' for n in on)} asks for some "
            "of it. Leave one of them out."
        )


def _set_torch_flags(deterministic: Any, benchmark: bool | None) -> None:
    if deterministic is not None:
        if deterministic not in (True, False, "warn"):
            raise MisconfigurationException(f"`deterministic` got {deterministic!r}. Use True, False or 'warn'.")
        torch.use_deterministic_algorithms(bool(deterministic), warn_only=deterministic == "warn")
        benchmark = False if deterministic and benchmark is None else benchmark
    if benchmark is not None:
        torch.backends.cudnn.benchmark = benchmark


def _default_callbacks(
    given: list[Any], max_time: Any, checkpoints: bool | None, bar: bool | None, summary: bool | None
) -> list[Any]:
    """What a trainer has unless told otherwise."""
    has_checkpoint = any(hasattr(cb, "best_model_path") for cb in given)
    bars = [cb for cb in given if isinstance(cb, lt_callbacks.ProgressBar)]
    if checkpoints is False and has_checkpoint:
        raise MisconfigurationException(
            "`enable_checkpointing=False` and a checkpoint callback contradict each other. Leave one of them out."
        )
    if (bar is False and bars) or len(bars) > 1:
        raise MisconfigurationException(
            f"`enable_progress_bar={bar}` and {len(bars)} progress bars among the callbacks contradict each other. "
            "Keep one bar, or none with `enable_progress_bar=False`."
        )
    found: list[Any] = []
    if max_time is not None and not any(isinstance(cb, lt_callbacks.Timer) for cb in given):
        found.append(lt_callbacks.Timer(max_time))
    if checkpoints is not False and not has_checkpoint:
        found.append(lt_callbacks.ModelCheckpoint())
    if bar is not False and not bars:
        found.append(lt_callbacks.default_progress_bar())
    if summary is not False and not any(isinstance(cb, lt_callbacks.ModelSummary) for cb in given):
        found.append(lt_callbacks.ModelSummary())
    return found


def _loggers(logger: Any, root: Any, dry: bool) -> list[Any]:
    """The loggers; by default TensorBoard, if it is installed, CSV and HTML files in one run directory."""
    if logger is False:
        return []
    if dry:
        return [lt_loggers.DummyLogger()]
    save_dir = "." if root is None else root
    if logger is None or logger is True:
        if find_spec("tensorboard") is None:
            table = lt_loggers.CSVLogger(save_dir)
            return [table, lt_loggers.HTMLLogger(save_dir).beside(table)]
        board = lt_loggers.TensorBoardLogger(save_dir)
        return [board, lt_loggers.CSVLogger(save_dir).beside(board), lt_loggers.HTMLLogger(save_dir).beside(board)]
    return [resolve("loggers", x, lt_loggers, LOGGERS, save_dir=save_dir) for x in _as_list(logger)]
