"""The model, its hyperparameters saved with it."""

from argparse import ArgumentParser

import torch
import torch.nn.functional as F
from torch import nn

import lt as L


class DigitModel(L.LightningModule):
    def __init__(self, hidden_dim: int = 64, learning_rate: float = 1e-3, **kwargs) -> None:
        super().__init__()
        self.save_hyperparameters("hidden_dim", "learning_rate")
        self.net = nn.Sequential(nn.Linear(64, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, 10))

    @staticmethod
    def add_model_specific_args(parent_parser: ArgumentParser) -> ArgumentParser:
        group = parent_parser.add_argument_group("DigitModel")
        group.add_argument("--hidden_dim", type=int, default=64)
        group.add_argument("--learning_rate", type=float, default=1e-3)
        return parent_parser

    def forward(self, pixels):
        return self.net(pixels)

    def training_step(self, batch, batch_idx):
        loss = F.cross_entropy(self(batch[0]), batch[1])
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", F.cross_entropy(self(batch[0]), batch[1]), prog_bar=True)

    def test_step(self, batch, batch_idx):
        self.log("test_acc", (self(batch[0]).argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.hparams.learning_rate)
