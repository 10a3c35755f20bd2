"""Which checkpoint an entry point starts from: what `ckpt_path` and its words mean."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lt_checkpoint
from lt_interfaces import CheckpointError, MisconfigurationException, rank_zero_info, rank_zero_warn

WORDS = ("best", "last", "auto", "hpc", "current")
_HPC = re.compile(r"hpc_ckpt_(\d+)\.ckpt")


def select(trainer: Any, ckpt_path: Any, same_model: bool) -> str | None:
    """The file to load, or None.

    "best" and "last" are those of this trainer's run, or of the newest run under `default_root_dir` if this trainer
    has had none. If there is none at all, `fit` starts afresh from "last", with a warning, and the others refuse both;
    "auto" is "last" that starts afresh without a word; "hpc" is what was saved before a scheduler took the machine
    away; "current" loads nothing.
    Without a word, evaluation after a fit with checkpointing takes the best file of that fit, and `fit` in a job that
    its scheduler starts again goes on with "hpc".
    """
    if ckpt_path is None:
        if trainer.fn == "fit":
            return _left_by_a_failure(trainer) or _left_for_requeue(trainer)
        if same_model and (best := _best_in_memory(trainer)):
            rank_zero_info(f"Using the best checkpoint of the fit, {best}; `ckpt_path='current'` keeps the weights.")
            return best
        return None
    if ckpt_path == "current":
        return None
    if ckpt_path == "best":
        return _best(trainer)
    if ckpt_path == "hpc":
        return _hpc(trainer)
    if ckpt_path in ("last", "auto"):
        return _last(trainer, said=ckpt_path == "last")
    return str(os.fspath(ckpt_path))


def _left_by_a_failure(trainer: Any) -> str | None:
    """What a callback saved when the run before this one failed."""
    for callback in trainer.callbacks:
        path = getattr(callback, "ckpt_path", None)
        if path and os.path.isfile(path):
            rank_zero_info(f"Continuing from {path}, saved when the last run failed.")
            return str(path)
    return None


def next_hpc_path(trainer: Any) -> str:
    """Where the state goes that a requeued job continues from; the numbers say which is newest."""
    number = max(_hpc_files(trainer), default=0) + 1
    path: str = os.path.join(trainer.default_root_dir, f"hpc_ckpt_{number}.ckpt")
    return path


def _hpc_files(trainer: Any) -> dict[int, Path]:
    """By number."""
    matches = ((_HPC.fullmatch(path.name), path) for path in Path(trainer.default_root_dir).glob("hpc_ckpt_*.ckpt"))
    return {int(match[1]): path for match, path in matches if match}


def _left_for_requeue(trainer: Any) -> str | None:
    """In a job that is started again: the state it was stopped in."""
    files = {} if trainer.engine.requeue_signal is None else _hpc_files(trainer)
    return _highest_good(files) if files else None


def _hpc(trainer: Any) -> str:
    files = _hpc_files(trainer)
    if not files:
        raise MisconfigurationException(
            f"`ckpt_path='hpc'` was asked for, and {trainer.default_root_dir} holds no `hpc_ckpt_<number>.ckpt`. "
            "Use 'auto' to start afresh where there is none."
        )
    return _highest_good(files)


def _highest_good(files: dict[int, Path]) -> str:
    return _newest_good([files[number] for number in sorted(files, reverse=True)])


def _best_in_memory(trainer: Any) -> str | None:
    for callback in trainer.checkpoint_callbacks:
        if callback.best_model_path:
            return str(callback.best_model_path)
    return None


def _newest_files(trainer: Any) -> list[Path]:
    """Checkpoints under the root, newest first; not the copies that experiment trackers keep as "artifacts"."""
    root = Path(trainer.default_root_dir)
    files = (f for f in root.glob("**/*.ckpt") if lt_checkpoint.exists(f))
    return sorted(
        (f for f in files if "artifacts" not in f.relative_to(root).parts),
        key=lambda f: (f.stat().st_mtime_ns, f.name == "last.ckpt"),
        reverse=True,
    )


def _best(trainer: Any) -> str:
    if trainer.fast_dev_run:
        raise MisconfigurationException(
            "`ckpt_path='best'` was asked for with `fast_dev_run`, which writes no checkpoints. Pass a path."
        )
    if best := _best_in_memory(trainer):
        return best
    for file in _newest_files(trainer):
        try:
            states = lt_checkpoint.load(file).get("callbacks", {}).values()
        except CheckpointError as error:
            rank_zero_warn(f"Skipped a checkpoint: {error}")
            continue
        for state in states:
            path = state.get("best_model_path") if isinstance(state, dict) else None
            if path and trainer.checkpoint_exists(path):
                return str(path)
            if path and lt_checkpoint.exists(file.parent / Path(path).name):
                return str(file.parent / Path(path).name)
    raise MisconfigurationException(_nothing_written("best", trainer))


def _nothing_written(word: str, trainer: Any) -> str:
    return (
        f"`ckpt_path={word!r}` was asked for, and no run under {trainer.default_root_dir} has written a checkpoint. "
        "Fit first, or pass a path."
    )


def _last(trainer: Any, said: bool) -> str | None:
    candidates = [cb.last_model_path for cb in trainer.checkpoint_callbacks if getattr(cb, "last_model_path", "")]
    files: list[str | Path] = [c for c in candidates if trainer.checkpoint_exists(c)]
    files += _newest_files(trainer)
    if not files:
        if said and trainer.fn != "fit":
            raise MisconfigurationException(_nothing_written("last", trainer))
        if said:
            rank_zero_warn(
                f"There is no checkpoint under {trainer.default_root_dir} to continue from: starting afresh."
            )
        return None
    return _newest_good(files)


def _newest_good(files: Sequence[str | Path]) -> str:
    found, skipped = lt_checkpoint.last_good(files)
    for reason in skipped.values():
        rank_zero_warn(f"Skipped a checkpoint. {reason}")
    rank_zero_info(f"Continuing from {found}.")
    return str(found)
