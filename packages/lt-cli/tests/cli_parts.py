"""A trainer, modules, data and a callback that a config file can name: their module has a plain name."""

from typing import Any

from lt_interfaces import Callback
from torch import nn


class Stop(Callback):
    def __init__(self, monitor: str, patience: int = 3) -> None:
        self.monitor, self.patience = monitor, patience


class Trainer:
    seeds: list[Any] = []

    def __init__(
        self,
        max_epochs: int | None = None,
        limit: float | int = 1.0,
        callbacks: Callback | list[Callback | str] | str | Any = None,
        logger: Any = None,
        fast_dev_run: bool = False,
    ) -> None:
        self.flags = {name: value for name, value in locals().items() if name != "self"}
        self.callbacks, self.calls = callbacks or [], []

    @staticmethod
    def seed_everything(seed: int | None = None, workers: bool = False) -> int:
        Trainer.seeds.append(seed)
        return seed or 11

    def fit(self, model: Any, datamodule: Any = None, ckpt_path: str | None = None) -> None:
        """Train."""
        self.calls.append(("fit", model, datamodule, ckpt_path))

    def explore(self, model: Any, depth: int = 1) -> None:
        """Look around."""
        self.calls.append(("explore", model, depth))


class Net(nn.Module):
    def __init__(self, hidden: int = 8, batch_size: int = 1, act: nn.Module | None = None) -> None:
        super().__init__()
        self.hidden, self.batch_size, self.act = hidden, batch_size, act
        self.layer = nn.Linear(2, 1)


class Wide(Net):
    pass


class Data:
    def __init__(self, batch_size: int = 32) -> None:
        self.batch_size, self.classes = batch_size, 10
