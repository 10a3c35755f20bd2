"""Metrics in a CSV file and hyperparameters in a YAML file, with nothing to install."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lt_interfaces import rank_zero_only

from lt_loggers.logger import Logger, close_with
from lt_loggers.metrics import Names, column_name, flat_numbers
from lt_loggers.metrics_file import MetricsFile
from lt_loggers.run_directory import RunDirectory, StrPath


class CSVLogger(Logger):
    """Writes `metrics.csv` and `hparams.yaml` into `save_dir/name/version_N`.

    One row per record, a column per metric, cells without a value empty. A run that continues an existing version
    appends to its file. Rows reach the file after a second or `flush_logs_every_n_steps` rows, and at `finalize`;
    `experiment.flush()` writes them now. `root_dir` is Fabric's spelling of `save_dir`.
    """

    _run: RunDirectory

    def __init__(
        self,
        save_dir: StrPath | None = None,
        name: str | None = "lightning_logs",
        version: int | str | None = None,
        prefix: str = "",
        flush_logs_every_n_steps: int = 100,
        *,
        root_dir: StrPath | None = None,
    ) -> None:
        if flush_logs_every_n_steps < 1:
            raise ValueError(
                f"`flush_logs_every_n_steps` must be at least 1, got {flush_logs_every_n_steps!r}. "
                "Use 1 to write each row at once."
            )
        self._run = RunDirectory(save_dir, root_dir, name, version)
        self._names = Names(prefix, column_name)
        self._max_rows = flush_logs_every_n_steps

    def _open(self) -> MetricsFile:
        file = MetricsFile(self._run.make() / "metrics.csv", self._max_rows)
        close_with(self, file.close)
        return file

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Add one row; a nested mapping becomes columns `name/key`. Values are read now, so they may change after."""
        file = self._experiment or self.experiment
        row = flat_numbers(metrics, self._names)
        if step is None:
            step = metrics.get("step")
        file.append(row, None if step is None else int(step))

    @rank_zero_only
    def log_hyperparams(self, params: Any = None) -> None:
        """Add to `hparams.yaml`."""
        self._run.save_hparams(params)

    def save(self) -> None:
        """Write all buffered rows, so that none is missing of what a checkpoint has behind it."""
        if self._experiment is not None:
            self._experiment.flush()

    def finalize(self, status: str) -> None:
        """Write all buffered rows."""
        if self._experiment is not None:
            self._experiment.close()
