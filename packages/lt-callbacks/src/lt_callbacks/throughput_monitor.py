"""Records how fast batches go through."""

from collections.abc import Callable
from time import perf_counter
from typing import Any

import torch
from lt_interfaces import Callback, Trainer

from lt_callbacks.flops import get_available_flops
from lt_callbacks.log_steps import has_logged
from lt_callbacks.throughput import Throughput


class Meter:
    """Counts one stage; the clock is read when a record is made, after the device has caught up."""

    def __init__(self, throughput: Throughput, device: torch.device) -> None:
        self.throughput, self.device = throughput, device
        self.batches = self.samples = self.lengths = 0
        self.flops = 0.0
        self.new = 0
        self.begin = self.now()
        self.paused = 0.0

    def now(self) -> float:
        """The time at which all that was asked of the device is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return perf_counter()

    def read(self, has_lengths: bool, has_flops: bool) -> dict[str, float]:
        """Rates up to now."""
        self.throughput.update(
            time=self.now() - self.begin,
            batches=self.batches,
            samples=self.samples,
            lengths=self.lengths if has_lengths else None,
            flops=self.flops if has_flops else None,
        )
        self.flops, self.new = 0.0, 0
        return self.throughput.compute()


class ThroughputMonitor(Callback):
    """Logs the rates of `Throughput` for each stage, as `train/device/samples_per_sec` and so on.

    `batch_size_fn` and `length_fn` (tokens, for instance) count a batch. A module with `flops_per_batch`, a number or
    a method that gives one (see `measure_flops`), has its operations and, on a known device, their share of the peak
    (MFU) logged. Time spent in validation does not count for training. The device is waited for in the logged steps
    only; `window_size` counts batches. Other arguments go to `Throughput`.
    """

    def __init__(
        self,
        batch_size_fn: Callable[[Any], int],
        length_fn: Callable[[Any], int] | None = None,
        window_size: int = 100,
        **kwargs: Any,
    ) -> None:
        self.batch_size_fn = batch_size_fn
        self.length_fn = length_fn
        self.window_size = window_size
        self.kwargs = kwargs
        self.separator = Throughput(**kwargs).separator
        self._meters: dict[str, Meter] = {}
        self._logged_step = 0

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        self._logged_step = trainer.global_step
        self._begin("train", trainer, pl_module)

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self._count("train", pl_module, batch)
        if has_logged(trainer) and trainer.global_step != self._logged_step:
            self._logged_step = trainer.global_step
            self._log("train", trainer, pl_module)

    def on_validation_start(self, trainer: Trainer, pl_module: Any) -> None:
        training = self._meters.get("train")
        if training is not None:
            training.paused = training.now()
        self._begin("validate", trainer, pl_module)

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._evaluated("validate", trainer, pl_module, batch)

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        self._log("validate", trainer, pl_module)
        training = self._meters.get("train")
        if training is not None:
            training.begin += training.now() - training.paused

    def on_test_start(self, trainer: Trainer, pl_module: Any) -> None:
        self._begin("test", trainer, pl_module)

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._evaluated("test", trainer, pl_module, batch)

    def on_test_end(self, trainer: Trainer, pl_module: Any) -> None:
        self._log("test", trainer, pl_module)

    def on_predict_start(self, trainer: Trainer, pl_module: Any) -> None:
        self._begin("predict", trainer, pl_module)

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._evaluated("predict", trainer, pl_module, batch)

    def on_predict_end(self, trainer: Trainer, pl_module: Any) -> None:
        self._log("predict", trainer, pl_module)

    def teardown(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        self._meters = {}

    def _begin(self, stage: str, trainer: Trainer, pl_module: Any) -> None:
        device = trainer.engine.device
        peak = get_available_flops(device, compute_dtype(trainer, pl_module))
        window = max(2, 1 + self.window_size // max(1, trainer.log_every_n_steps))
        settings = {"available_flops": peak, "world_size": trainer.world_size, "window_size": window} | self.kwargs
        meter = self._meters[stage] = Meter(Throughput(**settings), device)
        zero = None if flops_of(pl_module) is None else 0.0
        meter.throughput.update(time=0.0, batches=0, samples=0, lengths=0 if self.length_fn else None, flops=zero)

    def _count(self, stage: str, pl_module: Any, batch: Any) -> None:
        meter = self._meters[stage]
        meter.batches += 1
        meter.new += 1
        meter.samples += self.batch_size_fn(batch)
        if self.length_fn is not None:
            meter.lengths += self.length_fn(batch)
        meter.flops += flops_of(pl_module) or 0.0

    def _evaluated(self, stage: str, trainer: Trainer, pl_module: Any, batch: Any) -> None:
        self._count(stage, pl_module, batch)
        every = trainer.log_every_n_steps
        if every and self._meters[stage].batches % every == 0:
            self._log(stage, trainer, pl_module)

    def _log(self, stage: str, trainer: Trainer, pl_module: Any) -> None:
        meter = self._meters[stage]
        if meter.new and trainer.log_every_n_steps and not trainer.sanity_checking:
            rates = meter.read(self.length_fn is not None, flops_of(pl_module) is not None)
            trainer.log_metrics({f"{stage}{self.separator}{name}": rate for name, rate in rates.items()})


def flops_of(module: Any) -> float | None:
    """What the module says of its operations per batch."""
    flops = getattr(module, "flops_per_batch", None)
    return flops() if callable(flops) else flops


def compute_dtype(trainer: Trainer, module: Any) -> torch.dtype:
    """The dtype in which most is computed: that of the precision, else of the parameters."""
    named = str(getattr(getattr(trainer.engine, "precision", None), "precision", ""))
    for start, dtype in (("bf16", torch.bfloat16), ("16", torch.float16), ("64", torch.float64)):
        if named.startswith(start):
            return dtype
    return next((p.dtype for p in module.parameters()), torch.float32)
