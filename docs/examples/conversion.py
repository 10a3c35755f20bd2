"""A loop turned into a module: steps, a scheduler, a buffer, and no `.cuda()` anywhere."""

import lt as L
import torch
import torch.nn.functional as F
from lt.callbacks import ModelCheckpoint
from lt.demo import load_digits
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LRScheduler, StepLR
from torch.utils.data import DataLoader, TensorDataset

Batch = tuple[Tensor, Tensor]


class Classifier(L.LightningModule):
    mean: Tensor

    def __init__(self, mean: Tensor) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(64, 48), nn.ReLU(), nn.Dropout(0.2), nn.Linear(48, 10))
        self.register_buffer("mean", mean)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.net(images - self.mean)
        return logits

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, labels = batch
        noise = 0.01 * torch.randn(images.shape, device=self.device)
        return F.cross_entropy(self(images + noise), labels)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        images, labels = batch
        self.log("val_loss", F.cross_entropy(self(images), labels))

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        images, labels = batch
        self.log("test_acc", (self(images).argmax(1) == labels).float().mean())

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        logits: Tensor = self(batch[0])
        return logits.argmax(1)

    def configure_optimizers(self) -> tuple[list[Optimizer], list[LRScheduler]]:
        optimizer = Adam(self.parameters(), lr=1e-2)
        scheduler = StepLR(optimizer, step_size=2, gamma=0.5)
        return [optimizer], [scheduler]


images, labels = load_digits()
train = DataLoader(TensorDataset(images[:1200], labels[:1200]), batch_size=32, shuffle=True)
val = DataLoader(TensorDataset(images[1200:1500], labels[1200:1500]), batch_size=100)
test = DataLoader(TensorDataset(images[1500:], labels[1500:]), batch_size=100)

model = Classifier(images[:1200].mean(0))
trainer = L.Trainer(max_epochs=6, callbacks=[ModelCheckpoint(monitor="val_loss")])
trainer.fit(model, train, val)

# Each takes the best checkpoint of the fit, evaluation mode and no gradients by itself.
validated = trainer.validate(model, val)
tested = trainer.test(model, test)
predictions = trainer.predict(model, test)
