"""The logger for runs that shall leave nothing behind."""

from collections.abc import Mapping
from typing import Any

from lt_loggers.logger import DummyExperiment, Logger


class DummyLogger(Logger):
    """Swallows everything, also the methods that only other loggers have; for trial runs."""

    def __getattr__(self, name: str) -> DummyExperiment:
        if name.startswith("__"):
            raise AttributeError(name)
        return DummyExperiment()

    def _open(self) -> DummyExperiment:
        return DummyExperiment()

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Forget the record."""

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Forget the hyperparameters."""
