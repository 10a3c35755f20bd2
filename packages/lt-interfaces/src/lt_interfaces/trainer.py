"""What callbacks and modules may touch of a trainer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from lt_interfaces.stage import Progress, Stage

if TYPE_CHECKING:
    from lt_interfaces.engine import Engine
    from lt_interfaces.recorder import Recorder


class Trainer(Protocol):
    """The running trainer. Attributes are for reading; what may be set says so."""

    engine: Engine
    recorder: Recorder
    progress: Progress
    stage: Stage | None
    callbacks: list[Any]
    loggers: list[Any]
    optimizers: list[Any]
    """The optimizers as torch made them; `lightning_optimizers` are the same as the trainer steps them."""
    lightning_optimizers: list[Any]
    lr_scheduler_configs: list[Any]
    datamodule: Any
    default_root_dir: str
    predict_loop: Any
    ckpt_path: str | None
    should_stop: bool
    """May be set: ends training after the current batch, minimums respected."""
    accumulate_grad_batches: int
    """May be set at the start of an epoch."""
    fast_dev_run: bool | int
    max_epochs: int | None
    max_steps: int
    log_every_n_steps: int
    val_check_interval: Any
    check_val_every_n_epoch: int | None
    num_training_batches: float
    num_val_batches: list[float]
    num_sanity_val_batches: list[float]
    num_test_batches: list[float]
    num_predict_batches: list[float]
    callback_metrics: dict[str, Any]
    logged_metrics: dict[str, Any]
    progress_bar_metrics: dict[str, float]

    @property
    def lightning_module(self) -> Any:
        """The user's module, unwrapped."""

    @property
    def logger(self) -> Any:
        """The first logger or None."""

    @property
    def log_dir(self) -> str | None:
        """Where the run's files go."""

    @property
    def current_epoch(self) -> int:
        """`progress.epoch`."""

    @property
    def global_step(self) -> int:
        """`progress.step`: optimizer steps completed."""

    @property
    def is_last_batch(self) -> bool:
        """True in the last batch of a training epoch whose length is known."""

    @property
    def sanity_checking(self) -> bool:
        """True while the sanity check runs."""

    @property
    def is_global_zero(self) -> bool:
        """True in the process that writes files and messages."""

    @property
    def checkpoint_callback(self) -> Any:
        """The first callback that keeps checkpoints, or None."""

    @property
    def received_sigterm(self) -> bool:
        """True once the run is to end since its machine is needed."""

    @property
    def world_size(self) -> int:
        """Number of processes."""

    def save_checkpoint(self, filepath: Any, weights_only: bool = False) -> None:
        """Write a checkpoint; every rank must call."""

    def checkpoint_exists(self, filepath: Any) -> bool:
        """True if there is such a checkpoint, or one is being written."""

    def claim_folder(self, folder: Any) -> None:
        """Keep other runs out of a folder until this one ends; an error names the run that has it."""

    def flush_checkpoints(self) -> None:
        """Return when all that was to be written is on disk."""

    def remove_checkpoint(self, filepath: Any) -> None:
        """Delete a checkpoint that this run wrote."""

    def link_checkpoint(self, source: Any, target: Any) -> None:
        """Give a checkpoint a second name without writing it again; every rank must call."""

    def roll_back(self, before_step: int, without: Iterable[tuple[int, int]] = ()) -> None:
        """Go on from the newest checkpoint of fewer steps, without these batches; every rank must call.

        Batches are (epoch, index in it). Does not return; RuntimeError if there is no such checkpoint.
        """

    def log_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Send a record to all loggers now, with the run's `epoch` and step."""

    def call_loggers(self, method: str, *args: Any, **kwargs: Any) -> None:
        """Call a method of all loggers that have it, on rank zero; one that fails is told of once."""

    def agree(self, decision: bool) -> bool:
        """True on all ranks if it is True on any."""

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Print on rank zero, above a progress bar."""
