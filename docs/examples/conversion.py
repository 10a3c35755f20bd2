"""A loop turned into a module: steps, a scheduler, a buffer, and no `.cuda()` anywhere."""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import lt as L
from lt.demo import load_digits


class Classifier(L.LightningModule):
    def __init__(self, mean: torch.Tensor) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(64, 48), nn.ReLU(), nn.Dropout(0.2), nn.Linear(48, 10))
        self.register_buffer("mean", mean)

    def forward(self, images):
        return self.net(images - self.mean)

    def training_step(self, batch, batch_idx):
        images, labels = batch
        noise = torch.randn(images.shape, device=self.device) * 0.01
        return F.cross_entropy(self(images + noise), labels)

    def validation_step(self, batch, batch_idx):
        images, labels = batch
        self.log("val_loss", F.cross_entropy(self(images), labels))

    def test_step(self, batch, batch_idx):
        images, labels = batch
        self.log("test_acc", (self(images).argmax(1) == labels).float().mean())

    def predict_step(self, batch, batch_idx):
        return self(batch[0]).argmax(1)

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), lr=1e-2)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
        return [optimizer], [scheduler]


images, labels = load_digits()
train = DataLoader(TensorDataset(images[:1200], labels[:1200]), batch_size=32, shuffle=True)
val = DataLoader(TensorDataset(images[1200:1500], labels[1200:1500]), batch_size=100)
test = DataLoader(TensorDataset(images[1500:], labels[1500:]), batch_size=100)

model = Classifier(images[:1200].mean(0))
trainer = L.Trainer(max_epochs=6, callbacks=[L.callbacks.ModelCheckpoint(monitor="val_loss")])
trainer.fit(model, train, val)

validated = trainer.validate(model, val)
tested = trainer.test(model, test)
predictions = trainer.predict(model, test)
