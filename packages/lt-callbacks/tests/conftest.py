"""A trainer small enough to read: it calls the hooks in the documented order and writes real files."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch


class OneProcess:
    """The engine of a single process."""

    def broadcast(self, obj: Any, src: int = 0) -> Any:
        return obj


class PlainTrainer:
    """Trains one number: its value is the step count, and validation scores it with `score(step)`."""

    def __init__(self, root: Path, callbacks: list[Any], **settings: Any) -> None:
        self.default_root_dir, self.callbacks = str(root), callbacks
        self.engine, self.module = OneProcess(), SimpleNamespace()
        self.loggers: list[Any] = []
        self.callback_metrics: dict[str, Any] = {}
        self.progress_bar_metrics: dict[str, float] = {}
        self.progress = SimpleNamespace(batch=0)
        self.is_global_zero, self.world_size, self.fast_dev_run = True, 1, False
        self.received_sigterm, self.checkpoint_callback = False, callbacks[0] if callbacks else None
        self.sanity_checking = self.should_stop = self.is_last_batch = False
        self.ckpt_path: str | None = None
        self.current_epoch = self.global_step = 0
        self.max_epochs, self.num_training_batches, self.num_val_batches = 1, 10, [1]
        self.num_sanity_val_batches = [1]
        self.val_check_interval: Any = 1.0
        self.check_val_every_n_epoch: int | None = 1
        self.log_every_n_steps = self.accumulate_grad_batches = 1
        self.score = lambda step: 1 / step
        self.train_score: Any = None
        self.writes: list[str] = []
        vars(self).update(settings)

    def call_loggers(self, method: str, *args: Any) -> None:
        for logger in self.loggers:
            getattr(logger, method)(*args)

    def call(self, hook: str, *args: Any) -> None:
        for callback in self.callbacks:
            getattr(callback, hook)(self, self.module, *args)

    def setup(self, stage: str = "fit") -> "PlainTrainer":
        self.call("setup", stage)
        return self

    def fit(self) -> "PlainTrainer":
        self.setup()
        if self.ckpt_path is not None:
            self.restore()
        self.call("on_train_start")
        while self.current_epoch < self.max_epochs and not self.should_stop:
            self.epoch()
            self.current_epoch += 1
        self.call("on_train_end")
        return self

    def epoch(self) -> None:
        self.call("on_train_epoch_start")
        every = self.val_check_interval
        every = max(1, int(self.num_training_batches * every)) if isinstance(every, float) else every
        for i in range(self.num_training_batches):
            self.is_last_batch = i + 1 == self.num_training_batches
            self.call("on_train_batch_start", None, i)
            self.global_step += 1
            if self.train_score is not None:
                self.callback_metrics["train_loss"] = torch.tensor(self.train_score(self.global_step))
            self.call("on_train_batch_end", None, None, i)
            due = self.check_val_every_n_epoch and (self.current_epoch + 1) % self.check_val_every_n_epoch == 0
            if self.num_val_batches and due and (i + 1) % every == 0:
                self.validate()
        self.call("on_train_epoch_end")

    def validate(self) -> None:
        self.call("on_validation_start")
        self.call("on_validation_batch_end", None, None, 0)
        self.callback_metrics["val_loss"] = torch.tensor(self.score(self.global_step))
        self.call("on_validation_end")

    def restore(self) -> None:
        state = torch.load(self.ckpt_path, weights_only=True)
        self.global_step, self.current_epoch = state["weights"], state["epoch"]
        for callback in self.callbacks:
            if callback.state_key in state["callbacks"]:
                callback.load_state_dict(state["callbacks"][callback.state_key])

    def save_checkpoint(self, filepath: str, weights_only: bool = False) -> None:
        self.writes.append(os.path.basename(filepath))
        os.makedirs(os.path.dirname(filepath), exist_ok=True)
        states = {c.state_key: c.state_dict() for c in self.callbacks}
        epoch = self.current_epoch + self.is_last_batch
        torch.save({"weights": self.global_step, "epoch": epoch, "callbacks": states}, filepath + ".tmp")
        os.replace(filepath + ".tmp", filepath)

    def link_checkpoint(self, src: str, dst: str) -> None:
        os.link(src, dst + ".tmp")
        os.replace(dst + ".tmp", dst)

    def remove_checkpoint(self, filepath: str) -> None:
        os.remove(filepath)

    def agree(self, decision: bool) -> bool:
        return decision


@pytest.fixture
def trainer_of(tmp_path):
    """Makes a plain trainer with the given callbacks and settings."""
    return lambda *callbacks, **settings: PlainTrainer(tmp_path, list(callbacks), **settings)


@pytest.fixture
def weights():
    """The weights in a file: the number of steps they were trained for."""
    return lambda path: torch.load(path, weights_only=True)["weights"]


@pytest.fixture
def files(tmp_path):
    """The checkpoints below a folder, by their paths from there."""

    def listed(folder: Path = tmp_path) -> list[str]:
        return sorted(str(p.relative_to(folder)) for p in folder.rglob("*.ckpt"))

    return listed


class HandLoop:
    """A loop as users write it: it trains a real module and calls callbacks; what they ask of a trainer is here."""

    def __init__(self, root: Path, module: torch.nn.Module, callback: Any, **settings: Any) -> None:
        self.default_root_dir = self.log_dir = str(root)
        self.module, self.callback, self.sanity_checking, self.should_stop = module, callback, False, False
        trained = [p for p in module.parameters() if p.requires_grad]
        self.optimizers: list[Any] = [torch.optim.SGD(trained, lr=0.1)] if trained else []
        self.lr_scheduler_configs: list[Any] = []
        self.engine = SimpleNamespace(
            device=torch.device("cpu"), global_rank=0, all_reduce=lambda x, op: x, broadcast=lambda x: x
        )
        self.world_size, self.is_global_zero, self.loggers = 1, True, [None]
        self.global_step = self.current_epoch = 0
        self.max_epochs, self.num_training_batches, self.log_every_n_steps = 1, 4, 2
        self.progress = SimpleNamespace(batch=0)
        self.records: list[dict[str, Any]] = []
        self.batch = lambda step: torch.randn(2, 4, generator=torch.Generator().manual_seed(step))
        vars(self).update(settings)

    def call(self, hook: str, *args: Any) -> None:
        getattr(self.callback, hook)(self, self.module, *args)

    def start(self) -> "HandLoop":
        for hook, args in (("setup", ["fit"]), ("on_fit_start", []), ("on_train_start", [])):
            self.call(hook, *args)
        return self

    def fit(self) -> "HandLoop":
        self.start()
        for epoch in range(self.max_epochs):
            self.current_epoch = epoch
            self.epoch()
        self.call("on_train_end")
        self.call("teardown", "fit")
        return self

    def epoch(self) -> None:
        self.call("on_train_epoch_start")
        for i in range(self.num_training_batches):
            batch = self.batch(self.global_step)
            self.call("on_train_batch_start", batch, i)
            loss = self.module(batch).square().mean()
            self.module.zero_grad()
            self.call("on_before_backward", loss)
            loss.backward()
            self.call("on_after_backward")
            for optimizer in self.optimizers:
                self.call("on_before_optimizer_step", optimizer)
                optimizer.step()
            self.global_step += 1
            self.progress.batch = i + 1
            self.call("on_train_batch_end", {"loss": loss.detach()}, batch, i)
        self.call("on_train_epoch_end")

    def log_metrics(self, metrics: dict[str, Any]) -> None:
        self.records.append({"step": self.global_step, **metrics})

    def agree(self, decision: bool) -> bool:
        return decision


@pytest.fixture
def loop_of(tmp_path):
    """Makes a hand-written loop around a module and a callback."""
    return lambda module, callback, **settings: HandLoop(tmp_path, module, callback, **settings)


@pytest.fixture
def small():
    """A module of two layers with fixed weights."""
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1))
