"""What all progress displays share: when to draw, when to read metrics, and the words and totals."""

import builtins
import os
import sys
from collections.abc import Sequence
from time import monotonic
from typing import Any, ClassVar, TextIO

from lt_interfaces import Callback, Trainer, rank_zero_warn

NEVER = float("inf")


def can_draw(stream: TextIO) -> bool:
    """True for a terminal whose cursor moves, and in the kernel of a notebook."""
    return (stream.isatty() and os.environ.get("TERM") != "dumb") or in_notebook()


def in_notebook() -> bool:
    """True in the kernel of a notebook."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")


WORDS_AND_TOTALS = {
    "sanity": ("sanity_check_description", "total_val_batches"),
    "validation": ("validation_description", "total_val_batches"),
    "test": ("test_description", "total_test_batches"),
    "predict": ("predict_description", "total_predict_batches"),
}


class ProgressBar(Callback):
    """A display of how far the run has come. Subclasses draw: `_open`, `_draw` and `_close` a pass over data.

    A training step costs one look at the clock and one at the step count: it draws every `refresh_seconds`, and reads
    metrics, which may wait for the device, only at steps whose metrics are logged and at the ends of passes.
    """

    decides_on_epoch: ClassVar[bool] = True
    refresh_seconds = 0.1
    refresh_rate = 1
    """The least number of batches between two drawings."""

    def __init__(self) -> None:
        self._trainer: Trainer | None = None
        self._enabled = True
        self._metrics: dict[str, Any] = {}
        self._due = 0.0
        self._log_step: float = NEVER
        self._done = self._drawn = 0
        self._evaluated = 0
        self._loader_idx: int | None = None
        self._display: ProgressBar = self

    @property
    def trainer(self) -> Trainer:
        """The trainer whose progress is shown."""
        if self._trainer is None:
            raise RuntimeError(f"`{type(self).__name__}` is not in use. Its `setup` hook must run first.")
        return self._trainer

    @property
    def is_enabled(self) -> bool:
        """False where nothing is shown: on all ranks but the first, or after `disable`."""
        return self._enabled

    @property
    def is_disabled(self) -> bool:
        """The opposite."""
        return not self._enabled

    def disable(self) -> None:
        """Show nothing."""
        self._enabled = False
        self._due, self._log_step = NEVER, NEVER

    def enable(self) -> None:
        """Show progress again, from the next batch on."""
        self._enabled = True
        self._due = 0.0

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Print without disturbing the display."""
        builtins.print(*args, **kwargs)

    def get_metrics(self, trainer: Trainer, pl_module: Any) -> dict[str, Any]:
        """What to show beside the counts: the logger's version as `v_num`, and metrics logged with `prog_bar=True`."""
        version = trainer.loggers[0].version if trainer.loggers else None
        shown = {} if version is None else {"v_num": version if isinstance(version, int) else str(version)[-4:]}
        metrics = trainer.progress_bar_metrics
        if shown.keys() & metrics.keys():
            rank_zero_warn("A metric is logged as `v_num`, which shows the logger's version. Use another name.")
        return {**shown, **metrics}

    # The words and totals

    @property
    def sanity_check_description(self) -> str:
        return "Sanity checking"

    @property
    def train_description(self) -> str:
        epochs = self.trainer.max_epochs
        return f"Epoch {self.trainer.current_epoch + 1}" + (f"/{epochs}" if epochs is not None and epochs > 0 else "")

    @property
    def validation_description(self) -> str:
        return "Validation"

    @property
    def test_description(self) -> str:
        return "Testing"

    @property
    def predict_description(self) -> str:
        return "Predicting"

    @property
    def total_train_batches(self) -> float:
        return self.trainer.num_training_batches

    @property
    def total_val_batches(self) -> float:
        return sum(self._validation_batches)

    @property
    def total_test_batches(self) -> float:
        return sum(self.trainer.num_test_batches)

    @property
    def total_predict_batches(self) -> float:
        return sum(self.trainer.num_predict_batches)

    @property
    def total_val_batches_current_dataloader(self) -> float:
        return self._of_current_loader(self._validation_batches)

    @property
    def total_test_batches_current_dataloader(self) -> float:
        return self._of_current_loader(self.trainer.num_test_batches)

    @property
    def total_predict_batches_current_dataloader(self) -> float:
        return self._of_current_loader(self.trainer.num_predict_batches)

    def has_dataloader_changed(self, dataloader_idx: int) -> bool:
        """True for the first batch of each loader of a pass."""
        changed, self._loader_idx = dataloader_idx != self._loader_idx, dataloader_idx
        return changed

    def reset_dataloader_idx_tracker(self) -> None:
        """Let the next batch of an evaluation count as the first of its loader."""
        self._loader_idx = None

    @property
    def _validation_batches(self) -> Sequence[float]:
        trainer = self.trainer
        return trainer.num_sanity_val_batches if trainer.sanity_checking else trainer.num_val_batches

    def _of_current_loader(self, batches: Sequence[float]) -> float:
        return batches[self._loader_idx or 0] if batches else 0

    # Drawing, for subclasses

    def _open(self, stage: str, description: str, total: float, done: int = 0) -> None:
        """Begin to show a pass; `stage` is "sanity", "train", "validation", "test" or "predict"."""

    def _draw(self, stage: str, done: int) -> None:
        """Show the batches done and `self._metrics`."""

    def _close(self, stage: str, done: int) -> None:
        """The pass is over."""

    # When

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        self._trainer = trainer
        self._metrics = {}
        if not trainer.is_global_zero:
            self.disable()

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """A run that resumes within an epoch sees no start of it."""
        if trainer.progress.batch > 0:
            self._begin_epoch(trainer, trainer.progress.batch)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        self._begin_epoch(trainer)

    def _begin_epoch(self, trainer: Trainer, done: int = 0) -> None:
        self._trainer = trainer
        if self._enabled:
            every = trainer.log_every_n_steps
            self._log_step = trainer.global_step - trainer.global_step % every + every if every else NEVER
            self._done = self._drawn = done
            self._display._open("train", self.train_description, self.total_train_batches, done)

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self._done = batch_idx + 1
        now = monotonic()
        if now >= self._due or trainer.global_step >= self._log_step:
            self._look(trainer, pl_module, now)

    def _look(self, trainer: Trainer, pl_module: Any, now: float) -> None:
        step, every = trainer.global_step, trainer.log_every_n_steps
        logs = step >= self._log_step
        if logs:
            self._log_step = step - step % every + every
        if now < self._due or self._done - self._drawn < self.refresh_rate:
            return
        if logs and step % every == 0:
            self._read(trainer, pl_module)
        elif self._log_step != NEVER and now < self._due + min(1.0, self.refresh_seconds):
            return  # a step with metrics may come soon
        self._display._draw("train", self._done)
        self._drawn = self._done
        self._due = monotonic() + self.refresh_seconds

    def _read(self, trainer: Trainer, pl_module: Any) -> None:
        self._metrics.update(self.get_metrics(trainer, pl_module))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        if self._enabled:
            self._read(trainer, pl_module)
            self._display._close("train", self._done)

    def on_validation_start(self, trainer: Trainer, pl_module: Any) -> None:
        self._begin_pass(trainer, "sanity" if trainer.sanity_checking else "validation")

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._count("sanity" if trainer.sanity_checking else "validation")

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        self._end_pass(trainer, pl_module, "sanity" if trainer.sanity_checking else "validation")

    def on_test_start(self, trainer: Trainer, pl_module: Any) -> None:
        self._begin_pass(trainer, "test")

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._count("test")

    def on_test_end(self, trainer: Trainer, pl_module: Any) -> None:
        self._end_pass(trainer, pl_module, "test")

    def on_predict_start(self, trainer: Trainer, pl_module: Any) -> None:
        self._begin_pass(trainer, "predict")

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._count("predict")

    def on_predict_end(self, trainer: Trainer, pl_module: Any) -> None:
        self._end_pass(trainer, pl_module, "predict")

    def _begin_pass(self, trainer: Trainer, stage: str) -> None:
        self._trainer = trainer
        self._evaluated = 0
        if self._enabled:
            description, total = WORDS_AND_TOTALS[stage]
            self._display._open(stage, getattr(self, description), getattr(self, total))

    def _count(self, stage: str) -> None:
        self._evaluated += 1
        if monotonic() >= self._due and self._evaluated % self.refresh_rate == 0:
            self._display._draw(stage, self._evaluated)
            self._due = monotonic() + self.refresh_seconds

    def _end_pass(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        if self._enabled:
            if stage == "validation":
                self._read(trainer, pl_module)
            self._display._close(stage, self._evaluated)


def metrics_text(metrics: dict[str, Any], separator: str = " ") -> str:
    """`name=value` for each metric, numbers in a width that hardly changes."""
    return separator.join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in metrics.items())
