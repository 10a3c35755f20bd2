"""A module's training killed at random instants and started again, beside the same training in peace."""

import copy
import importlib
import os
import warnings
from pathlib import Path
from typing import Any

import lt_checkpoint
import torch
from lt_accel import seed_everything
from lt_callbacks import ModelCheckpoint
from lt_interfaces import Callback

from lt.testing.campaign import Trial, campaign, note, plain
from lt.testing.runs import QUIET, Make, a_folder, is_datamodule
from lt.trainer import Trainer


def kills_equal_no_kill(
    make_model: Make,
    make_data: Make,
    kills: int = 3,
    *,
    every_n_steps: int = 2,
    folder: str | os.PathLike[str] | None = None,
    seed: int = 0,
    **trainer_args: Any,
) -> None:
    """Runs that are killed at random instants, also while they save, and started again end bit for bit as one in peace.

    Each run is a process of its own, forked from this one, so nothing that a checkpoint does not hold can live on.

    Args:
        make_model: Gives a new module; called once for each start.
        make_data: Gives a new loader to train on, or a data module.
        kills: How many in all; some runs get two or three.
        every_n_steps: How often a checkpoint is saved.
        folder: Where the runs lie; by default a temporary one. What differed stays there.
        seed: For the runs and for the instants.
        trainer_args: Flags of `lt.Trainer`; two epochs on the CPU without logs by default.

    Raises:
        AssertionError: Names what was lost, what cannot be read, and which part of the state differs.
    """
    limits = {} if trainer_args.get("max_steps", -1) != -1 else {"max_epochs": 2}
    given = {**QUIET, **limits, **trainer_args}

    def run(root: Path) -> None:
        warnings.simplefilter("ignore")
        seed_everything(seed, verbose=False)
        model, data, flags = make_model(), make_data(), copy.deepcopy(given)
        keep = ModelCheckpoint(root, every_n_train_steps=every_n_steps, save_last=True)
        callbacks = flags.pop("callbacks", None) or []
        callbacks = list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks]
        trainer = NotingTrainer(**flags, default_root_dir=root, callbacks=[NotedStart(), keep, *callbacks])
        trainer.fit(model, **{"datamodule" if is_datamodule(data) else "train_dataloaders": data}, ckpt_path="last")
        lt_checkpoint.save(final_state(trainer), root / "outcome")

    importlib.import_module("torch._dynamo")  # the first optimizer does, which takes a child longer than its training
    trial = Trial("kills", run, lambda root: lt_checkpoint.load(root / "outcome"))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # a forked child waits for ever for the threads that it has not inherited
    try:
        with a_folder() as temporary:
            tally = campaign(trial, kills, Path(folder or temporary) / "kills", seed)
    finally:
        torch.set_num_threads(threads)
    if tally.unreadable or tally.lost or tally.differences:
        raise AssertionError(
            f"After {tally.kills} kills, {tally.kills - tally.equal} runs differ from the one in peace, "
            f"{tally.unreadable} checkpoints cannot be read and {tally.lost} starts forgot a save. "
            + "\n".join(tally.differences)
        )


def final_state(trainer: Any) -> dict[str, Any]:
    """What a finished run is compared by; `plain` makes tensors compare bit for bit."""
    return {
        "weights": plain(trainer.lightning_module.state_dict()),
        "optimizers": [plain(o.state_dict()) for o in trainer.optimizers],
        "schedulers": [plain(c.scheduler.state_dict()) for c in trainer.lr_scheduler_configs],
        "scaler": plain(trainer.engine.state_dict()),
        "metrics": plain(dict(trainer.callback_metrics)),
        "position": [trainer.current_epoch, trainer.global_step],
        "generators": plain(torch.get_rng_state()),
    }


class NotingTrainer(Trainer):
    """Notes in the trace when a save begins and when it has returned."""

    def save_checkpoint(self, filepath: Any, *args: Any, **kwargs: Any) -> None:
        note(Path(self.default_root_dir), "saving", self.global_step)
        super().save_checkpoint(filepath, *args, **kwargs)
        if not isinstance(self.engine.checkpoint_io, lt_checkpoint.AsyncCheckpointIO):  # which has only begun by now
            note(Path(self.default_root_dir), "saved", self.global_step)


class NotedStart(Callback):
    """Notes in the trace at which step training starts."""

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        note(Path(trainer.default_root_dir), "training from", trainer.global_step)
