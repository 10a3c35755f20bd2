"""Runs for comparison: a fresh module and fresh data from the user's functions, trained quietly in a seeded process."""

import contextlib
import copy
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from lt_accel import seed_everything
from lt_accel.seed import isolate_rng
from lt_data.structure import fill, leaves
from torch import nn

from lt.testing.recording import Recording, Step
from lt.trainer import Trainer

Make = Callable[[], Any]

QUIET: dict[str, Any] = {
    "accelerator": "cpu",
    "logger": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


class Run:
    """A module, its data and a trainer, made anew from the same seed."""

    def __init__(self, make_model: Make, make_data: Make, folder: Path, seed: int, **trainer_args: Any) -> None:
        self.seed = seed
        seed_everything(seed, verbose=False)
        self.model = make_model()
        self.data = make_data()
        given = {name: copy.deepcopy(value) for name, value in trainer_args.items()}
        extra = given.pop("extra_callbacks", [])
        callbacks = given.pop("callbacks", None) or []
        callbacks = [*(callbacks if isinstance(callbacks, (list, tuple)) else [callbacks]), *extra]
        limits = {} if given.get("max_steps", -1) != -1 or "max_time" in given else {"max_epochs": 2}
        given = {**QUIET, "enable_checkpointing": False, **limits, "default_root_dir": folder, **given}
        if any(hasattr(callback, "best_model_path") for callback in callbacks):
            given.pop("enable_checkpointing")
        self.trainer = Trainer(callbacks=callbacks, **given)

    def fit(
        self, data: Any = None, follow: list[Step] | None = None, ckpt_path: Any = None, seed: int | None = None
    ) -> Recording:
        """Train, on other data if given, and keep every step; `seed` says from where the generators start."""
        data = self.data if data is None else data
        where = {"datamodule": data} if is_datamodule(data) else {"train_dataloaders": data}
        seed_everything(self.seed + 1 if seed is None else seed, verbose=False)
        with Recording(self.model, follow) as self.recording:
            self.trainer.fit(self.model, **where, ckpt_path=ckpt_path)
        return self.recording

    def state(self) -> dict[str, Any]:
        """What a run ends with, beside its steps."""
        return {
            "the module's": dict(self.model.state_dict()),
            "the optimizers'": [o.state_dict() for o in self.trainer.optimizers],
            "the schedulers'": [c.scheduler.state_dict() for c in self.trainer.lr_scheduler_configs],
            "the logged": dict(self.trainer.callback_metrics),
        }


def is_datamodule(data: Any) -> bool:
    """Whether it has loaders to be asked for."""
    return hasattr(data, "train_dataloader")


def training_loader(data: Any) -> Any:
    """The loader to train on; a data module is prepared first."""
    if not is_datamodule(data):
        return data
    data.prepare_data()
    data.setup("fit")
    return data.train_dataloader()


def some_batches(data: Any, most: int) -> list[Any]:
    """The first batches of the size that the first one has."""
    found: list[Any] = []
    for batch in training_loader(data):
        if len(found) == most or (found and _sizes(batch) != _sizes(found[0])):
            break
        found.append(batch)
    return found


def _sizes(batch: Any) -> list[Any]:
    return [leaf.shape[:1] for leaf in leaves(batch) if isinstance(leaf, torch.Tensor)]


def joined(batches: list[Any]) -> Any:
    """One batch of several: tensors one behind the other, lists of strings and numbers too."""
    columns = list(zip(*map(list, map(leaves, batches)), strict=True))
    values = [torch.cat(column) if _is_batched(column[0]) else column[0] for column in columns]
    unlike = [c for c in columns if not _is_batched(c[0]) and any(repr(other) != repr(c[0]) for other in c[1:])]
    if unlike:
        raise TypeError(
            f"Batches with a {type(unlike[0][0]).__name__} for each cannot be joined here. "
            "Pass `join=`, a function from a list of batches to the batch of all their samples."
        )
    return fill(batches[0], iter(values))


def _is_batched(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.ndim > 0


def bare(model: Any) -> None:
    """Without its own callbacks, which may need validation, and without dropout, whose masks are a batch's."""
    model.configure_callbacks = list
    for part in model.modules():
        if isinstance(part, nn.modules.dropout._DropoutNd):
            part.p = 0.0


@contextlib.contextmanager
def a_folder() -> Iterator[Path]:
    """A folder for a comparison; random generators and variables are afterwards what they were."""
    before = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="lt-testing-") as name, isolate_rng():
        try:
            yield Path(name)
        finally:
            os.environ.clear()
            os.environ.update(before)
