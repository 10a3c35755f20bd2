"""Which checkpoints are to be uploaded, and their files held on to until that is done."""

from __future__ import annotations

import os
import shutil
import tempfile
from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from lt_interfaces import rank_zero_only

from lt_loggers.metrics import number
from lt_loggers.remote_logger import RemoteLogger


class SavedCheckpoint(NamedTuple):
    """A file or folder that a checkpoint callback keeps, and what there is to say about it."""

    path: str
    score: float | None
    aliases: list[str]
    about: dict[str, Any]

    @property
    def metadata(self) -> dict[str, Any]:
        """What is told beside the file."""
        return self.about | {"score": self.score, "original_filename": Path(self.path).name}


class CheckpointUploads:
    """Uploads what a checkpoint callback keeps: at each save (`"all"`), when the run ends (`True`), or never."""

    def __init__(self, log_model: bool | str) -> None:
        if log_model not in (True, False, "all"):
            raise ValueError(f"`log_model` must be True, False or 'all', got {log_model!r}. Use 'all' for each save.")
        self._log_model = log_model
        self._callbacks: list[Any] = []
        self._done: dict[str, tuple[int, int]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_callbacks": []}

    def after_save(self, callback: Any) -> list[SavedCheckpoint]:
        """What is to be uploaded now."""
        if self._log_model == "all" or (self._log_model and getattr(callback, "save_top_k", None) == -1):
            return self._new(callback)
        if self._log_model and not any(callback is known for known in self._callbacks):
            self._callbacks.append(callback)
        return []

    def at_end(self) -> list[SavedCheckpoint]:
        """What is still to be uploaded when the run ends."""
        return [saved for callback in self._callbacks for saved in self._new(callback)]

    def _new(self, callback: Any) -> list[SavedCheckpoint]:
        best, last = getattr(callback, "best_model_path", ""), getattr(callback, "last_model_path", "")
        scores = dict(getattr(callback, "best_k_models", {}))
        about = {name: getattr(callback, name) for name in ("monitor", "mode", "save_top_k") if hasattr(callback, name)}
        if (current := getattr(callback, "current_score", None)) is not None:
            scores.setdefault(last, current)
        times = {path: _time_and_size(path) for path in {best, last, *scores} if path and os.path.exists(path)}
        found = []
        for path in sorted(times, key=lambda path: times[path]):
            if self._done.get(path) != times[path]:
                self._done[path] = times[path]
                score = number("score", scores[path]) if scores.get(path) is not None else None
                found.append(SavedCheckpoint(path, score, ["latest", "best"] if path == best else ["latest"], about))
        return found


class UploadingLogger(RemoteLogger):
    """A logger to a server that takes checkpoints as well, when its `log_model` says so."""

    _uploads: CheckpointUploads

    @abstractmethod
    def upload(self, experiment: Any, saved: SavedCheckpoint, path: str) -> None:
        """Send the file or folder at `path`, which is another name for that of the checkpoint."""

    @rank_zero_only
    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        """Upload new checkpoints, if `log_model` says so."""
        self._upload(self._uploads.after_save(checkpoint_callback))

    def finalize(self, status: str) -> None:
        """Send everything, also checkpoints if `log_model=True`."""
        self._upload(self._uploads.at_end())
        super().finalize(status)

    def _upload(self, checkpoints: Sequence[SavedCheckpoint]) -> None:
        for saved in checkpoints:
            path, let_go = _held(saved.path)
            self.hand_over(f"log_model {path}", partial(self._upload_held, saved=saved, path=path, then=let_go))

    def _upload_held(self, experiment: Any, *, saved: SavedCheckpoint, path: str, then: Callable[[], object]) -> None:
        self.upload(experiment, saved, path)
        then()


def _held(path: str) -> tuple[str, Callable[[], object]]:
    """Another name for a file or folder, so that deleting the first one takes nothing away; and how to let go of it."""
    folder = tempfile.mkdtemp(prefix=".upload-", dir=Path(path).absolute().parent)
    other = os.path.join(folder, os.path.basename(path))
    try:
        if os.path.isdir(path):
            shutil.copytree(path, other, copy_function=os.link)
        else:
            os.link(path, other)
    except OSError:  # a file system without hard links: the file itself then, for as long as it is there
        shutil.rmtree(folder, ignore_errors=True)
        return path, lambda: None
    return other, lambda: shutil.rmtree(folder, ignore_errors=True)


def _time_and_size(path: str) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_mtime_ns, status.st_size
