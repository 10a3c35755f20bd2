"""What goes to the loggers of a run: one that fails is told of once, and never ends training."""

from collections.abc import Sequence
from typing import Any

from lt_interfaces import rank_zero_warn


class LoggerCalls:
    """Calls the loggers that a trainer has at the moment, from rank zero."""

    def __init__(self, trainer: Any) -> None:
        self._trainer = trainer
        self._told: set[int] = set()

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

    def _tell(self, logger: Any, method: str, error: Exception) -> None:
        if id(logger) in self._told:
            return
        self._told.add(id(logger))
        rank_zero_warn(
            f"`{type(logger).__name__}.{method}` failed, training goes on, and its failures from now on are not told: "
            f"{type(error).__name__}: {error}"
        )
