"""A run as one HTML page to look at while it runs and to keep when it is over."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lt_interfaces import rank_zero_only

from lt_loggers.live_report import LiveReport
from lt_loggers.logger import Logger, close_with
from lt_loggers.metrics import Names, flat_numbers, number, printable
from lt_loggers.run_directory import RunDirectory, StrPath


class HTMLLogger(Logger):
    """Writes `report.html` and `hparams.yaml` into `save_dir/name/version_N`: the run on one page.

    The page is one file that needs no server and fetches nothing. It is written anew as the run goes on, at most every
    few seconds, and at `finalize`; `experiment.write()` does it now. A run that goes on in its folder shows what a
    `CSVLogger` has written there before. `root_dir` is Fabric's spelling of `save_dir`.
    """

    _run: RunDirectory

    def __init__(
        self,
        save_dir: StrPath | None = None,
        name: str | None = "lightning_logs",
        version: int | str | None = None,
        prefix: str = "",
        *,
        root_dir: StrPath | None = None,
    ) -> None:
        self._run = RunDirectory(save_dir, root_dir, name, version)
        self._names = Names(prefix, printable)
        self._names.update(epoch="epoch", step="step")  # the place of a record, whatever its metrics are called
        self._has_rates = False

    def _open(self) -> LiveReport:
        folder = self._run.make()
        live = LiveReport(folder, self._run.name, folder.name)
        close_with(self, live.close)
        return live

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Take one record. Values are read now, so they may change after."""
        live = self._experiment or self.experiment
        row = flat_numbers(metrics, self._names)
        self._has_rates = self._has_rates or any(name.startswith("lr-") for name in metrics)
        if step is None:
            step = metrics.get("step")
        live.add(row, None if step is None else int(step))

    @rank_zero_only
    def log_learning_rates(self, rates: Mapping[str, float], step: int) -> None:
        """Show what the optimizers are set to, unless the run's records tell it themselves."""
        if not self._has_rates:
            self.experiment.add(dict(rates), step)

    @rank_zero_only
    def log_hyperparams(self, params: Any = None) -> None:
        """Add to `hparams.yaml` and to the page."""
        self.experiment.run.hparams.update(self._run.save_hparams(params))

    @rank_zero_only
    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        """Show the callback's best and last files with their scores."""
        told = checkpoint_callback
        best, last = getattr(told, "best_model_path", ""), getattr(told, "last_model_path", "")
        monitor, mode = getattr(told, "monitor", None), getattr(told, "mode", "min")
        scores = {path: number("score", score) for path, score in getattr(told, "best_k_models", {}).items()}
        ranked = sorted(scores, key=lambda path: scores[path], reverse=mode == "max")
        files = dict.fromkeys(path for path in (best, *ranked, last) if path)
        rows = []
        for path in files:
            role = ", ".join(word for word, given in (("best", best), ("last", last)) if path == given)
            rows.append((_shown(path, self._run.make()), monitor or "", scores.get(path), role))
        key = str(getattr(told, "state_key", type(told).__qualname__))
        self.experiment.set_checkpoints(key, rows, {self._names[monitor]: mode} if monitor else {})

    def save(self) -> None:
        """Write the page if that is due."""
        if self._experiment is not None:
            self._experiment.save()

    def finalize(self, status: str) -> None:
        """Write the page as the run ended; "success" is shown as finished."""
        if self._experiment is not None:
            self._experiment.finish(status)


def _shown(path: str, folder: Path) -> str:
    full = os.path.abspath(path)
    return os.path.relpath(full, folder) if Path(full).is_relative_to(folder) else path
