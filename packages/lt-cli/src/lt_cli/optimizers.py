"""Optimizers and schedulers chosen on a command line; the only file here that needs torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any

try:
    from torch.optim import Optimizer, lr_scheduler
    from torch.optim.lr_scheduler import LRScheduler
except ImportError as error:
    raise ImportError('Optimizers need torch, which is not installed. Run `pip install "lt-cli[torch]"`.') from error

OptimizerCallable = Callable[[Iterable[Any]], Optimizer]
LRSchedulerCallable = Callable[[Optimizer], LRScheduler]


class ReduceLROnPlateau(lr_scheduler.ReduceLROnPlateau):
    """torch's scheduler with the name of the metric that it watches.

    Args:
        optimizer: The optimizer.
        monitor: The logged metric.
    """

    def __init__(self, optimizer: Optimizer, monitor: str, *args: Any, **kwargs: Any) -> None:
        super().__init__(optimizer, *args, **kwargs)
        self.monitor = monitor


OPTIMIZERS = (Optimizer,)
SCHEDULERS = (LRScheduler,)


def instantiate_class(args: Any, init: Mapping[str, Any]) -> Any:
    """An instance of `init["class_path"]` with `args` and then `init["init_args"]`."""
    place, _, name = init["class_path"].rpartition(".")
    positional = args if isinstance(args, tuple) else (args,)
    return getattr(import_module(place), name)(*positional, **(init.get("init_args") or {}))


def configured(module: Any, optimizer: Optimizer, scheduler: LRScheduler | None = None) -> Any:
    """What `configure_optimizers` returns for one optimizer and perhaps a scheduler, which steps each epoch."""
    if scheduler is None:
        return optimizer
    if isinstance(scheduler, ReduceLROnPlateau):
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "monitor": scheduler.monitor}}
    return {"optimizer": optimizer, "lr_scheduler": scheduler}


class ChosenOptimizers:
    """Stands in for a module's `configure_optimizers`: makes what the settings name when training begins."""

    def __init__(self, module: Any, combine: Callable[..., Any], optimizer: Any, scheduler: Any) -> None:
        self.module, self.combine = module, combine
        self.optimizer, self.scheduler = optimizer, scheduler

    def __call__(self) -> Any:
        """The optimizer over the module's parameters, with its scheduler."""
        optimizer = instantiate_class((self.module.parameters(),), self.optimizer)
        scheduler = instantiate_class((optimizer,), self.scheduler) if self.scheduler else None
        return self.combine(self.module, optimizer, scheduler)
