"""The model, its hyperparameters saved with it."""

from argparse import ArgumentParser

import lt as L
import torch
import torch.nn.functional as F
from torch import Tensor, nn

Batch = tuple[Tensor, Tensor]


class DigitModel(L.LightningModule):
    def __init__(self, hidden_dim: int = 64, learning_rate: float = 1e-3) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(nn.Linear(64, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, 10))

    @staticmethod
    def add_model_specific_args(parent_parser: ArgumentParser) -> ArgumentParser:
        group = parent_parser.add_argument_group("DigitModel")
        group.add_argument("--hidden_dim", type=int, default=64)
        group.add_argument("--learning_rate", type=float, default=1e-3)
        return parent_parser

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.net(pixels)
        return logits

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        pixels, labels = batch
        loss = F.cross_entropy(self(pixels), labels)
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        pixels, labels = batch
        self.log("val_loss", F.cross_entropy(self(pixels), labels), prog_bar=True)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        pixels, labels = batch
        self.log("test_acc", (self(pixels).argmax(1) == labels).float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.hparams.learning_rate)
