"""From the folders of runs to a report on disk."""

import os
from collections.abc import Sequence
from pathlib import Path

from lt_interfaces.whole_file import write_text

from lt_loggers.report.comparison import comparison
from lt_loggers.report.run import Run, read_run
from lt_loggers.report.run_report import run_report

StrPath = str | os.PathLike[str]


def write_report(*runs: StrPath, file: StrPath | None = None) -> Path:
    """Write the report of a run's folder, or of several folders their comparison; returns its path.

    Without `file`, one run gets `report.html` in its folder and a comparison is `comparison.html` in the current one.
    What is drawn is read from `metrics.csv` and `hparams.yaml`.
    """
    if not runs:
        raise TypeError("`write_report` needs a run. Give the folder that holds its `metrics.csv`.")
    page = compare(runs) if len(runs) > 1 else run_report(_run(runs[0]))
    default = Path(runs[0], "report.html") if len(runs) == 1 else Path("comparison.html")
    target = Path(file) if file is not None else default
    write_text(target, page)
    return target


def compare(runs: Sequence[StrPath]) -> str:
    """One HTML page with the curves, results and hyperparameters of several runs, given by their folders."""
    folders = list(dict.fromkeys(Path(os.path.abspath(run)) for run in runs))
    common = os.path.commonpath([folder.parent for folder in folders])
    return comparison([_run(folder) for folder in folders], [os.path.relpath(folder, common) for folder in folders])


def _run(folder: StrPath) -> Run:
    path = Path(os.path.abspath(folder))
    if not (path / "metrics.csv").is_file():
        raise FileNotFoundError(
            f"There is no `metrics.csv` in {str(folder)!r}. Give the folder of a run that a `CSVLogger` wrote, e.g. "
            "'lightning_logs/version_0'."
        )
    return read_run(path)
