"""Records what the optimizers are set to as training goes on."""

from collections.abc import Iterator
from typing import Any

from lt_interfaces import Callback, MisconfigurationException, Trainer

from lt_callbacks.log_steps import has_logged, will_log


class LearningRateMonitor(Callback):
    """Logs learning rates, each under its scheduler's `name` or `lr-<optimizer>`, with `/pg<k>` if there are groups.

    `logging_interval` "step" records with each record of the training steps the values that step was taken with,
    "epoch" at each start of an epoch; None chooses by the interval of each scheduler. `lrs` keeps the rates that were
    recorded in this run, a list for each name.
    """

    def __init__(
        self, logging_interval: str | None = None, log_momentum: bool = False, log_weight_decay: bool = False
    ) -> None:
        if logging_interval not in (None, "step", "epoch"):
            raise MisconfigurationException(
                f"`logging_interval` must be 'step', 'epoch' or None, got {logging_interval!r}. Choose one of them."
            )
        self.logging_interval = logging_interval
        self.log_momentum = log_momentum
        self.log_weight_decay = log_weight_decay
        self.lrs: dict[str, list[float]] = {}
        self._names: list[tuple[Any, str, str | None]] = []
        self._by_step = False
        self._seen: dict[str, float] = {}

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        if not trainer.loggers:
            raise MisconfigurationException("`LearningRateMonitor` has no logger to write to. Give the trainer one.")
        self.lrs = {}
        self._names = list(_named(trainer))
        self._by_step = self.logging_interval == "step" or (
            self.logging_interval is None and any(interval != "epoch" for _, _, interval in self._names)
        )

    def on_train_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        values = self._values("epoch")
        if values:
            trainer.log_metrics(values)

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if self._by_step and will_log(trainer):
            self._seen = self._values("step")

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self._seen and has_logged(trainer):
            trainer.log_metrics(self._seen)
            self._seen = {}

    def _values(self, interval: str) -> dict[str, float]:
        if self.logging_interval not in (None, interval):
            return {}
        values = {}
        for optimizer, name, natural in self._names:
            if self.logging_interval is None and natural not in (None, interval):
                continue
            for group, key in _groups(optimizer, name):
                values[key] = float(group["lr"])
                self.lrs.setdefault(key, []).append(values[key])
                if self.log_momentum:
                    momentum = group["betas"][0] if "betas" in group else group.get("momentum", 0.0)
                    values[key + "-momentum"] = float(momentum)
                if self.log_weight_decay:
                    values[key + "-weight_decay"] = float(group.get("weight_decay", 0.0))
        return values


def _named(trainer: Trainer) -> Iterator[tuple[Any, str, str | None]]:
    """The optimizer of each scheduler, then those without one, with a name of its own and the scheduler's interval."""
    configs = [c for c in trainer.lr_scheduler_configs if getattr(c.scheduler, "optimizer", None) is not None]
    scheduled: list[tuple[Any, str | None, str | None]] = [(c.scheduler.optimizer, c.name, c.interval) for c in configs]
    known = {id(optimizer) for optimizer, _, _ in scheduled}
    others = [(optimizer, None, None) for optimizer in trainer.optimizers if id(optimizer) not in known]
    taken: set[str] = set()
    for optimizer, given, interval in scheduled + others:
        name = base = given or f"lr-{type(optimizer).__name__}"
        repeat = 0
        while name in taken:
            repeat += 1
            name = f"{base}-{repeat}"
        taken.add(name)
        yield optimizer, name, interval


def _groups(optimizer: Any, name: str) -> Iterator[tuple[dict[str, Any], str]]:
    groups = optimizer.param_groups
    for i, group in enumerate(groups, 1):
        own = group.get("name", "" if len(groups) == 1 else f"pg{i}")
        yield group, f"{name}/{own}" if own else name
