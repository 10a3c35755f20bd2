"""Optimizers and schedulers as a module configures them and as the trainer steps them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

import torch
from lt_interfaces import MisconfigurationException, did_you_mean, rank_zero_warn
from torch.optim.lr_scheduler import ReduceLROnPlateau


@dataclass(slots=True, kw_only=True)
class LRSchedulerConfig:
    """A scheduler and when to step it: every `frequency` epochs or optimizer steps."""

    scheduler: Any
    interval: str = "epoch"
    frequency: int = 1
    monitor: str | None = None
    strict: bool = True
    name: str | None = None
    reduce_on_plateau: bool = False


class LightningOptimizer:
    """An optimizer whose `step` goes through the trainer: scaling, hooks and the step count are right.

    Everything else is the optimizer's own, `isinstance` included.
    """

    def __init__(self, optimizer: Any, step: Callable[[Any, Callable[[], Any] | None], Any]) -> None:
        self.optimizer = optimizer
        self._step = step

    def step(self, closure: Callable[[], Any] | None = None, **kwargs: Any) -> Any:
        """Step once; the closure, if any, computes the gradients."""
        return self._step(self.optimizer, closure)

    @contextmanager
    def toggle_model(self, sync_grad: bool = True) -> Iterator[None]:
        """Only this optimizer's parameters require gradients inside."""
        module = self._step.__self__.module  # type: ignore[attr-defined]
        module.toggle_optimizer(self)
        try:
            with self._step.__self__.trainer.engine.no_backward_sync(module, enabled=not sync_grad):  # type: ignore[attr-defined]
                yield
        finally:
            module.untoggle_optimizer(self)

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return type(self.optimizer)

    def __getattr__(self, name: str) -> Any:
        if "optimizer" not in vars(self):  # half-built, by copy or pickle
            raise AttributeError(name)
        return getattr(self.optimizer, name)

    def __repr__(self) -> str:
        return f"Lightning{self.optimizer!r}"


def configure(module: Any) -> tuple[list[Any], list[LRSchedulerConfig]]:
    """Optimizers and scheduler configurations out of every form that `configure_optimizers` may return."""
    returned = module.configure_optimizers()
    optimizers, schedulers, monitor = _parts(returned)
    configs = [_config(s, monitor) for s in schedulers]
    for config in configs:
        owner = getattr(config.scheduler, "optimizer", None)
        if owner is not None and not any(owner is o for o in optimizers):
            raise MisconfigurationException(
                f"The scheduler `{type(config.scheduler).__name__}` steps an optimizer that `configure_optimizers` did "
                "not return. Return that optimizer too."
            )
    if len(optimizers) > 1 and getattr(module, "automatic_optimization", True):
        raise MisconfigurationException(
            f"`configure_optimizers` returned {len(optimizers)} optimizers, and automatic optimization steps one. "
            "Set `self.automatic_optimization = False` in `__init__` and step them in `training_step`."
        )
    return optimizers, configs


def _parts(returned: Any) -> tuple[list[Any], list[Any], str | None]:
    if returned is None or returned == []:
        rank_zero_warn(f"`configure_optimizers` returned {returned}: this fit trains nothing. Return an optimizer.")
        return [], [], None
    if _is_optimizer(returned):
        return [returned], [], None
    if isinstance(returned, Mapping):
        return _from_mapping(returned)
    if isinstance(returned, Sequence):
        if all(_is_optimizer(o) for o in returned):
            return list(returned), [], None
        if all(isinstance(o, Mapping) and "optimizer" in o for o in returned):
            parts = [_from_mapping(o) for o in returned]
            schedulers = [
                {"monitor": monitor, **s} if isinstance(s, Mapping) else {"scheduler": s, "monitor": monitor}
                for _, found, monitor in parts
                for s in found
            ]
            return [o for found, _, _ in parts for o in found], schedulers, None
        if len(returned) == 2 and isinstance(returned[0], Sequence) and all(map(_is_optimizer, returned[0])):
            second = returned[1]
            return list(returned[0]), list(second) if isinstance(second, Sequence) else [second], None
    raise MisconfigurationException(
        f"`configure_optimizers` returned a `{type(returned).__name__}` that is none of its forms. Return an "
        "optimizer, a list of them, a pair of lists (optimizers, schedulers), or a dict with `optimizer` and "
        "`lr_scheduler`."
    )


def _from_mapping(returned: Mapping[str, Any]) -> tuple[list[Any], list[Any], str | None]:
    known = ("optimizer", "lr_scheduler", "monitor")
    for key in returned:
        if key not in known:
            rank_zero_warn(f"`configure_optimizers` returned an unknown key `{key}`. {did_you_mean(key, known)}")
    if not _is_optimizer(returned.get("optimizer")):
        raise MisconfigurationException(
            f"`configure_optimizers` returned a dict with the keys {sorted(returned)}, but no optimizer. "
            "Put it under `optimizer`."
        )
    scheduler = returned.get("lr_scheduler")
    return [returned["optimizer"]], [] if scheduler is None else [scheduler], returned.get("monitor")


def _is_optimizer(obj: Any) -> bool:
    return isinstance(obj, torch.optim.Optimizer) or all(
        hasattr(obj, n) for n in ("step", "param_groups", "zero_grad", "state_dict")
    )


def _config(given: Any, monitor: str | None) -> LRSchedulerConfig:
    known = [f.name for f in fields(LRSchedulerConfig)]
    if isinstance(given, Mapping):
        for key in given:
            if key not in known:
                rank_zero_warn(f"The scheduler configuration has an unknown key `{key}`. {did_you_mean(key, known)}")
        if "scheduler" not in given:
            raise MisconfigurationException(
                f"The scheduler configuration has the keys {sorted(given)}, but no `scheduler`. Put it there."
            )
        config = LRSchedulerConfig(**{k: v for k, v in given.items() if k in known})
    else:
        config = LRSchedulerConfig(scheduler=given)
    config.monitor = config.monitor or monitor
    config.reduce_on_plateau = config.reduce_on_plateau or isinstance(config.scheduler, ReduceLROnPlateau)
    if config.interval not in ("epoch", "step"):
        raise MisconfigurationException(
            f"`interval` of a scheduler must be 'epoch' or 'step', got {config.interval!r}. "
            + did_you_mean(str(config.interval), ("epoch", "step"))
        )
    if config.reduce_on_plateau and config.monitor is None:
        raise MisconfigurationException(
            "`ReduceLROnPlateau` needs a metric to watch, and none is named. "
            "Return {'optimizer': ..., 'lr_scheduler': ..., 'monitor': 'val_loss'}."
        )
    return config


class Schedulers:
    """Steps the configured schedulers at the right moments."""

    def __init__(self, trainer: Any, module: Any, configs: list[LRSchedulerConfig], custom: bool) -> None:
        self.trainer, self.module = trainer, module
        self.custom = custom
        self._step_one = trainer.clock.module(module, "lr_scheduler_step", self._step) if configs else self._step
        plain = [c for c in configs if not c.reduce_on_plateau]
        plateau = [c for c in configs if c.reduce_on_plateau]
        self.on_step = [c for c in plain if c.interval == "step"]
        self.on_epoch = [c for c in plain if c.interval == "epoch"]
        self.plateau_on_step = [c for c in plateau if c.interval == "step"]
        self.plateau_on_epoch = [c for c in plateau if c.interval == "epoch"]

    def step(self, configs: list[LRSchedulerConfig], count: int) -> None:
        """Step those whose frequency divides the count of steps or epochs done."""
        for config in configs:
            if count % config.frequency == 0:
                self._step_one(config)

    def _step(self, config: LRSchedulerConfig) -> None:
        metric = None
        if config.monitor is not None and config.reduce_on_plateau:
            metrics = self.trainer.callback_metrics
            if config.monitor not in metrics and config.interval == "step" and self.trainer.awaits_validation:
                return
            if config.monitor not in metrics:
                message = (
                    f"The scheduler `{type(config.scheduler).__name__}` watches `{config.monitor}`, which was not "
                    f"logged. {did_you_mean(config.monitor, metrics) if metrics else 'Log it with `self.log`.'}"
                )
                if config.strict:
                    raise MisconfigurationException(message)
                rank_zero_warn(message)
                return
            metric = metrics[config.monitor]
        if self.custom:
            self.module.lr_scheduler_step(config.scheduler, metric)
        elif metric is None:
            config.scheduler.step()
        else:
            config.scheduler.step(metric)
