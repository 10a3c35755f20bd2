"""Records what the device has in use."""

from collections.abc import Iterable
from typing import Any

import torch
from lt_interfaces import Callback, MisconfigurationException, Trainer

from lt_callbacks.log_steps import has_logged, will_log


class DeviceStatsMonitor(Callback):
    """Logs the memory statistics of the accelerator and the load of the CPU at both ends of logged batches.

    Keys are `DeviceStatsMonitor.on_train_batch_end/allocated_bytes.all.current` and so on; `filter_keys` keeps those
    that hold one of the given words. `cpu_stats` None tells of the CPU only where it trains, True always, False never.
    """

    def __init__(self, cpu_stats: bool | None = None, filter_keys: Iterable[str] | None = None) -> None:
        self.cpu_stats = cpu_stats
        self.filter_keys = None if filter_keys is None else list(filter_keys)
        self._psutil: Any = None
        self._begun: dict[str, float] = {}

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        if stage != "predict" and not trainer.loggers:
            raise MisconfigurationException("`DeviceStatsMonitor` has no logger to write to. Give the trainer one.")
        if self.cpu_stats or (self.cpu_stats is None and trainer.engine.device.type == "cpu"):
            try:
                import psutil  # type: ignore[import-untyped]
            except ImportError as error:
                raise ImportError(
                    "`DeviceStatsMonitor` needs psutil for the CPU. Install it: pip install 'lt-callbacks[psutil]'."
                ) from error
            self._psutil = psutil

    def stats(self, device: torch.device) -> dict[str, float]:
        """The statistics now; asks nothing of the device itself."""
        found: dict[str, float] = {}
        if device.type != "cpu":
            found |= getattr(torch.get_device_module(device), "memory_stats", lambda _: {})(device)
        if self._psutil is not None:
            found["cpu_vm_percent"] = self._psutil.virtual_memory().percent
            found["cpu_percent"] = self._psutil.cpu_percent()
            found["cpu_swap_percent"] = self._psutil.swap_memory().percent
        words = self.filter_keys
        return {k: v for k, v in found.items() if words is None or any(word in k for word in words)}

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if will_log(trainer):
            self._begin(trainer, "on_train_batch_start")

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if has_logged(trainer):
            self._end(trainer, "on_train_batch_end")

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if _is_due(trainer, batch_idx):
            self._begin(trainer, "on_validation_batch_start")

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._end(trainer, "on_validation_batch_end")

    def on_test_batch_start(
        self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if _is_due(trainer, batch_idx):
            self._begin(trainer, "on_test_batch_start")

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._end(trainer, "on_test_batch_end")

    def _begin(self, trainer: Trainer, hook: str) -> None:
        if trainer.is_global_zero:
            self._begun = self._named(trainer, hook)

    def _end(self, trainer: Trainer, hook: str) -> None:
        if self._begun:
            trainer.log_metrics({**self._begun, **self._named(trainer, hook)})
            self._begun = {}

    def _named(self, trainer: Trainer, hook: str) -> dict[str, float]:
        return {f"{type(self).__name__}.{hook}/{k}": v for k, v in self.stats(trainer.engine.device).items()}


def _is_due(trainer: Trainer, batch_idx: int) -> bool:
    every = trainer.log_every_n_steps
    return every > 0 and batch_idx % every == 0 and not trainer.sanity_checking
