"""An autoencoder on MNIST: the model, one loader for each part, a bare trainer."""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, random_split
from torchvision.datasets import MNIST
from torchvision.transforms import ToTensor

import lt as L


class AutoEncoder(L.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(28 * 28, 64), nn.ReLU(), nn.Linear(64, 3))
        self.decoder = nn.Sequential(nn.Linear(3, 64), nn.ReLU(), nn.Linear(64, 28 * 28))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The embedding of each image, shape (batch, 3)."""
        return self.encoder(images.flatten(1))

    def training_step(self, batch, batch_idx):
        images, _ = batch
        pixels = images.flatten(1)
        loss = F.mse_loss(self.decoder(self.encoder(pixels)), pixels)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        pixels = batch[0].flatten(1)
        self.log("val_loss", F.mse_loss(self.decoder(self.encoder(pixels)), pixels))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-3)


dataset = MNIST("data", download=not Path("data/MNIST").exists(), transform=ToTensor())
train, val = random_split(dataset, [0.8, 0.2])

autoencoder = AutoEncoder()
trainer = L.Trainer()
trainer.fit(autoencoder, DataLoader(train), DataLoader(val))
