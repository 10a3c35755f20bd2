"""Collects garbage at chosen steps instead of at moments of Python's choice."""

import gc
from typing import Any

from lt_interfaces import Callback, Trainer


class GarbageCollectionScheduler(Callback):
    """Turns Python's garbage collector off while training and runs it every `every_n_steps` optimizer steps.

    What exists when training begins is left out of the collections, which makes them short. All ranks collect at the
    same step, so that none waits for another's pause. Afterwards the collector is as it was.
    """

    def __init__(self, every_n_steps: int = 1000) -> None:
        if every_n_steps < 1:
            raise ValueError(f"`every_n_steps` must be at least 1, got {every_n_steps!r}. Use 1000, for instance.")
        self.every_n_steps = every_n_steps
        self._next = 0
        self._acts = self._was_enabled = False

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        self._acts, self._was_enabled = True, gc.isenabled()
        self._next = trainer.global_step + self.every_n_steps
        gc.collect()
        gc.freeze()
        gc.disable()

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step >= self._next:
            self._next = trainer.global_step + self.every_n_steps
            gc.collect()

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        if self._acts:
            self._acts = False
            gc.unfreeze()
            if self._was_enabled:
                gc.enable()

    def teardown(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        """A run that failed does not come to its end."""
        self.on_train_end(trainer, pl_module)
