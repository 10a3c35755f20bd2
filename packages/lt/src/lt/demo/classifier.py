"""The demo's model: a small convolutional network."""

from typing import Any

import torch
import torch.nn.functional as F
from lt_callbacks import EarlyStopping, ModelCheckpoint
from lt_module import LightningModule
from torch import Tensor, nn

Batch = tuple[Tensor, Tensor]


class DigitClassifier(LightningModule):
    """Tells the ten digits apart; about 99 of 100 after half a minute.

    Args:
        width: Channels of the first convolution; the second has twice as many.
        lr: Learning rate of Adam.
        dropout: Share of features dropped before the last layer.
        patience: Validations without a better loss before training stops.
    """

    def __init__(self, width: int = 16, lr: float = 2e-3, dropout: float = 0.25, patience: int = 5) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.lr, self.patience = lr, patience
        self.net = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1), nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Dropout(dropout), nn.Linear(2 * width * 16, 10),
        )  # fmt: skip

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.net(images)
        return logits

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, labels = batch
        loss = F.cross_entropy(self(images), labels)
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._evaluate(batch, "val")

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._evaluate(batch, "test")

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The digits seen, shape (batch,)."""
        return self.forward(batch[0]).argmax(dim=1)

    def _evaluate(self, batch: Batch, prefix: str) -> None:
        images, labels = batch
        logits = self(images)
        self.log(f"{prefix}_loss", F.cross_entropy(logits, labels), prog_bar=True)
        self.log(f"{prefix}_acc", (logits.argmax(dim=1) == labels).float().mean(), prog_bar=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.lr)

    def configure_callbacks(self) -> list[Any]:
        return [
            EarlyStopping(monitor="val_loss", patience=self.patience),
            ModelCheckpoint(monitor="val_loss", save_last=True),
        ]
