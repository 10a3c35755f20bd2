"""Checkpoints of a run by hand: written, linked, deleted, waited for, and the folders kept for this run alone."""

import os
from collections.abc import Callable
from functools import partial
from typing import Any

import lt_checkpoint

from lt_loops import state
from lt_loops.clock import Clock
from lt_loops.logger_calls import LoggerCalls
from lt_loops.readings import Readings


class Saves(Readings):
    """What the trainer offers to callbacks that keep checkpoints, and to users."""

    clock: Clock
    claims: dict[str, lt_checkpoint.Claim]
    call_loggers: LoggerCalls

    def save_checkpoint(self, filepath: Any, weights_only: bool | None = None, storage_options: Any = None) -> None:
        """Write a checkpoint of the run as it stands; every rank must call."""
        if self.module is None:
            raise AttributeError("`trainer.save_checkpoint` was called before any module was attached. Fit first.")
        if storage_options is not None:
            raise TypeError(
                f"`trainer.save_checkpoint` takes no `storage_options`, got {storage_options!r}. Set what a store "
                "needs in `fsspec.config`, or pass a `CheckpointIO` of your own as a plugin."
            )
        write = self.clock.timed("checkpoints", self.clock.measured("save_checkpoint", self._save_checkpoint))
        write(filepath, bool(weights_only))

    def _save_checkpoint(self, filepath: Any, weights_only: bool) -> None:
        self.call_loggers.save()
        self.engine.save(filepath, state.gather(self, weights_only))

    def remove_checkpoint(self, filepath: Any) -> None:
        """Delete a checkpoint that this run wrote."""
        if self.is_global_zero:
            self.engine.checkpoint_io.remove_checkpoint(filepath)

    def link_checkpoint(self, source: Any, target: Any) -> None:
        """Give a checkpoint a second name without writing it again."""
        self._on_rank_zero(partial(self.engine.checkpoint_io.link_checkpoint, source, target))

    def checkpoint_exists(self, filepath: Any) -> bool:
        """True for a checkpoint that this process sees or that is being written, wherever checkpoints go."""
        return bool(self.engine.checkpoint_io.exists(filepath))

    def flush_checkpoints(self) -> None:
        """Return when all checkpoints are where they belong; every rank must call."""
        self._on_rank_zero(self.engine.checkpoint_io.flush)

    def claim_folder(self, folder: Any) -> None:
        """Keep other runs from writing there until this one ends; every rank must call.

        RuntimeError if another run has it. Of stores on other machines nothing is claimed.
        """
        self._on_rank_zero(partial(self._claim, os.fspath(folder)))

    def _claim(self, folder: str) -> None:
        if folder not in self.claims and "://" not in folder:
            self.claims[folder] = lt_checkpoint.claim(folder)

    def _on_rank_zero(self, task: Callable[[], Any]) -> None:
        """Do it there, wait for it everywhere; if it fails there, it fails everywhere."""
        error: Exception | None = None
        if self.is_global_zero:
            try:
                task()
            except Exception as raised:
                error = raised
        told = self.engine.broadcast(None if error is None else f"{type(error).__name__}: {error}")
        if error is not None:
            raise error
        if told is not None:
            raise RuntimeError(f"Rank 0 stopped: {told}")
