"""A model and data with one fault at a time; the library and the command line are given the same."""

from pathlib import Path
from typing import Any

import lt as L
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset


class Model(L.LightningModule):
    """Right, unless a fault is named; leaves a file `trained` once an optimizer has stepped."""

    def __init__(self, fault: str = "", monitor: str = "val_loss") -> None:
        super().__init__()
        self.fault, self.monitor = fault, monitor
        self.layer = nn.Linear(4, 1)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
        losses = self.layer(batch[0]).pow(2)
        wrong = {"vector": losses, "detached": losses.mean().detach(), "text": "0.5", "nothing": {}}
        return wrong.get(self.fault, losses.mean())

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.log("val_loss", self.layer(batch[0]).pow(2).mean())

    test_step = validation_step

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        Path("trained").touch()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def configure_callbacks(self) -> list[Any]:
        return [L.callbacks.EarlyStopping(monitor=self.monitor)]


class WithoutValidation(L.LightningModule):
    fault = ""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 1)

    training_step = Model.training_step
    configure_optimizers = Model.configure_optimizers


class WithoutTraining(L.LightningModule):
    validation_step = Model.validation_step
    configure_optimizers = Model.configure_optimizers


class AlmostAHook(Model):
    def on_train_epoch_ends(self) -> None:
        """Misspelt."""


class Data(L.LightningDataModule):
    def __init__(self, size: int = 8, val_size: int = 8) -> None:
        super().__init__()
        self.size, self.val_size = size, val_size

    def train_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        return DataLoader(TensorDataset(torch.ones(self.size, 4)), 4)

    def val_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        return DataLoader(TensorDataset(torch.ones(self.val_size, 4)), 4)

    test_dataloader = val_dataloader
