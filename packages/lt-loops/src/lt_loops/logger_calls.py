"""What goes to the loggers of a run: one that fails is told of once, and never ends training."""

from collections.abc import Mapping, Sequence
from typing import Any

from lt_interfaces import MisconfigurationException, rank_zero_warn


class LoggerCalls:
    """Calls the loggers that a trainer has at the moment, from rank zero."""

    def __init__(self, trainer: Any) -> None:
        self._trainer = trainer
        self._told: set[int] = set()
        self._rates_at = -1

    def __call__(self, method: str, *args: Any, **kwargs: Any) -> None:
        """The method of each logger that has it."""
        trainer = self._trainer
        loggers: Sequence[Any] = trainer.loggers if trainer.is_global_zero else ()
        for logger in loggers:
            call = getattr(logger, method, None)
            if call is None:
                continue
            try:
                call(*args, **kwargs)
            except Exception as error:
                self._tell(logger, method, error)

    def record(self, values: Mapping[str, float]) -> None:
        """Send values to all loggers, with the epoch, at the run's step."""
        trainer = self._trainer
        if values and trainer.loggers and trainer.is_global_zero:
            send = trainer.clock.timed("logging", trainer.clock.measured("log_metrics", self))
            send("log_metrics", {"epoch": trainer.progress.epoch, **values}, step=trainer.progress.step)

    def learning_rates(self) -> None:
        """Tell the loggers that draw them what the optimizers are set to, once a step; no record is made of it."""
        trainer, step = self._trainer, self._trainer.progress.step
        if trainer.loggers and trainer.is_global_zero and step != self._rates_at:
            self._rates_at = step
            groups = [optimizer.param_groups[0] for optimizer in trainer.optimizers]
            named = zip(trainer.rate_names, groups, strict=False)  # a callback may have replaced optimizers
            self("log_learning_rates", {name: float(group["lr"]) for name, group in named if "lr" in group}, step=step)

    def hparams(self) -> None:
        """Send the hyperparameters of module and data module, which must not differ; and the module for its graph."""
        trainer = self._trainer
        if not trainer.loggers:
            return
        merged: dict[str, Any] = {}
        for owner in (trainer.module, trainer.datamodule):
            if getattr(owner, "_log_hyperparams", False) and getattr(owner, "_hparams_name", None):
                _merge(merged, owner.hparams_to_save())
        if trainer.is_global_zero:
            for logger in trainer.loggers:
                if merged:
                    logger.log_hyperparams(merged)
                if hasattr(logger, "log_graph"):
                    logger.log_graph(trainer.module)

    def save(self) -> None:
        """Let the loggers hand over what they buffer; before each checkpoint and at the end of each epoch."""
        self._timed("save")

    def finalize(self, status: str) -> None:
        """The run is over."""
        self._timed("finalize", status)

    def _timed(self, method: str, *args: Any) -> None:
        if self._trainer.loggers:
            self._trainer.clock.timed("logging", self)(method, *args)

    def _tell(self, logger: Any, method: str, error: Exception) -> None:
        if id(logger) in self._told:
            return
        self._told.add(id(logger))
        rank_zero_warn(
            f"`{type(logger).__name__}.{method}` failed, training goes on, and its failures from now on are not told: "
            f"{type(error).__name__}: {error}"
        )


def _merge(merged: dict[str, Any], hparams: Mapping[str, Any]) -> None:
    for key, value in hparams.items():
        if key in merged and _differ(merged[key], value):
            raise MisconfigurationException(
                f"The hyperparameter `{key}` is {merged[key]!r} in the module and {value!r} in the data "
                "module. Rename one, or pass `logger=False` to one `save_hyperparameters`."
            )
        merged[key] = value


def _differ(a: Any, b: Any) -> bool:
    try:
        return bool(a != b)
    except (RuntimeError, ValueError):
        return a is not b
