"""Where metrics go."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Logger(Protocol):
    """A sink for metrics and hyperparameters; called on rank zero only.

    Optional capabilities, used where present: `log_dir`, `save_dir`, `root_dir` (paths), `experiment` (touched once
    before training), `log_graph(model, input_array=None)`, `after_save_checkpoint(callback)`.
    """

    @property
    def name(self) -> str | None:
        """The experiment's name."""

    @property
    def version(self) -> int | str | None:
        """The run's number or id within the experiment."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Write one record; `step` never goes backwards within a run."""

    def log_hyperparams(self, params: Any) -> None:
        """Write the hyperparameters, once per run."""

    def save(self) -> None:
        """Hand over what is buffered."""

    def finalize(self, status: str) -> None:
        """Close: `status` is "success" or "failed"."""
