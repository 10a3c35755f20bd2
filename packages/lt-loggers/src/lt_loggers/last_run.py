"""Which run a folder saw last, so that a run can be continued without knowing its id by heart."""

from __future__ import annotations

from pathlib import Path

from lt_interfaces import rank_zero_only
from lt_interfaces.whole_file import write_text

from lt_loggers.run_directory import RunDirectory, StrPath

LAST = "last"


@rank_zero_only
def last_run(save_dir: StrPath, name: str, service: str) -> str | None:
    """The id of the run that this folder saw last; None before the first."""
    path = _path(RunDirectory(save_dir, None, name, ""), service)
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None


def remember_run(directory: RunDirectory, service: str, run_id: str) -> None:
    """Make this the run that `last_run` tells."""
    write_text(_path(directory, service), f"{run_id}\n")


def _path(directory: RunDirectory, service: str) -> Path:
    return Path(directory.root_dir) / f"last-{service}-run.txt"
