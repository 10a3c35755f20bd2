"""The quickstart: an autoencoder on MNIST, two loaders, a bare trainer.

Bare means 1000 epochs. Ctrl-C stops it, and so does a limit: `LT_TRAINER_MAX_EPOCHS=1 python quickstart.py`.
"""

import lt as L
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, random_split
from torchvision.datasets import MNIST
from torchvision.transforms import ToTensor

Batch = tuple[Tensor, Tensor]


class AutoEncoder(L.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(28 * 28, 64), nn.ReLU(), nn.Linear(64, 3))
        self.decoder = nn.Sequential(nn.Linear(3, 64), nn.ReLU(), nn.Linear(64, 28 * 28))

    def forward(self, images: Tensor) -> Tensor:
        """The embedding of each image, shape (batch, 3)."""
        embedding: Tensor = self.encoder(images.flatten(1))
        return embedding

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        pixels = batch[0].flatten(1)
        loss = F.mse_loss(self.decoder(self.encoder(pixels)), pixels)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        pixels = batch[0].flatten(1)
        self.log("val_loss", F.mse_loss(self.decoder(self.encoder(pixels)), pixels))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-3)


dataset = MNIST("data", download=True, transform=ToTensor())
train, val = random_split(dataset, [0.8, 0.2])

autoencoder = AutoEncoder()
trainer = L.Trainer()
trainer.fit(autoencoder, DataLoader(train), DataLoader(val))
