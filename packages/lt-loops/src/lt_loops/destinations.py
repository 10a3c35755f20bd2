"""Where a run would write, looked at before it starts; nothing is made to find out."""

import os
from collections.abc import Iterator
from typing import Any


def check_folders(trainer: Any, fn: str) -> None:
    """Refuse a local folder of a logger or a checkpoint callback that cannot be made or written."""
    for owner, folder in _folders(trainer, fn):
        if "://" in folder:
            continue
        there = os.path.abspath(os.path.expanduser(folder))
        while not os.path.lexists(there):
            there = os.path.dirname(there)
        if os.path.isdir(there) and os.access(there, os.W_OK | os.X_OK):
            continue
        kind, fact = (PermissionError, "is not writable") if os.path.isdir(there) else (NotADirectoryError, "is a file")
        raise kind(f"`{folder}` cannot be written: {there} {fact}. Choose another {owner}.")


def _folders(trainer: Any, fn: str) -> Iterator[tuple[str, str]]:
    root = trainer.default_root_dir
    for logger in trainer.loggers:
        if folder := getattr(logger, "save_dir", None):
            yield f"`save_dir` of the `{type(logger).__name__}`", os.fspath(folder)
    for callback in trainer.checkpoint_callbacks if fn == "fit" and not trainer.fast_dev_run else []:
        if folder := getattr(callback, "dirpath", None):
            yield f"`dirpath` of the `{type(callback).__name__}`", os.fspath(folder)
        elif not trainer.loggers:
            yield "`default_root_dir`", root
