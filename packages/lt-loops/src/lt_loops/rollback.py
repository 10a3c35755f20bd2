"""Going back, in the middle of training, to a checkpoint that the run wrote, and on without what spoilt it."""

import os
from collections.abc import Iterable
from typing import Any

import lt_checkpoint
from lt_interfaces import CheckpointError, is_overridden, rank_zero_info, rank_zero_warn

from lt_loops import state

Place = tuple[int, int]
"""A batch: its epoch and its index in it."""


class RollBack(Exception):
    """Leaves the epoch that runs, for the checkpoint to go on from."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


def request(trainer: Any, before_step: int, without: Iterable[Place]) -> None:
    """Leave this batch and go on from the newest good checkpoint of fewer steps; RuntimeError if there is none.

    Every rank must call, from a hook of the training batch. The batches `without` are left out from now on.
    """
    path = trainer.engine.broadcast(_newest(trainer, before_step) if trainer.is_global_zero else None)
    if path is None:
        raise RuntimeError(
            f"There is no checkpoint of this run from before step {before_step} to go back to. "
            "Save more often, e.g. `ModelCheckpoint(every_n_train_steps=100)`."
        )
    trainer.fit_loop.data.left_out.update(without)
    raise RollBack(path)


def _newest(trainer: Any, before_step: int) -> str | None:
    written: set[str] = set()
    for callback in trainer.checkpoint_callbacks:
        last = getattr(callback, "last_model_path", "")
        written.update(filter(None, [callback.best_model_path, last, *getattr(callback, "best_k_models", ())]))
    trainer.engine.checkpoint_io.flush()
    steps = {path: _step(path) for path in written if lt_checkpoint.exists(path)}
    good = [path for path, step in steps.items() if step is not None and step < before_step]
    if not good:
        return None
    path, _ = lt_checkpoint.last_good(sorted(good, key=lambda p: (steps[p], p), reverse=True))
    return os.fspath(path)


def _step(path: str) -> int | None:
    try:
        return lt_checkpoint.stored_step(path)
    except (CheckpointError, OSError) as error:
        rank_zero_warn(f"Skipped a checkpoint. {error}")
        return None


def go_back(trainer: Any, path: str) -> None:
    """Module, optimizers, callbacks, counts and generators as they are in the file."""
    checkpoint = trainer.engine.load(path)
    if is_overridden(trainer.module, "on_load_checkpoint"):
        trainer.module.on_load_checkpoint(checkpoint)
    left_out = set(trainer.fit_loop.data.left_out)
    trainer.recorder.forget()
    state.restore_module(trainer, checkpoint, path)
    state.restore_training(trainer, checkpoint, path)
    trainer.fit_loop.data.left_out |= left_out
    rank_zero_info(f"Back to step {trainer.global_step}, from {path}; left out: {sorted(left_out)} (epoch, batch).")
