"""A classifier with early stopping, CSV and TensorBoard logs, and losses and metrics made in `__init__`."""

import lt as L
import torch
from lt.callbacks import EarlyStopping
from lt.demo import load_digits
from lt.loggers import CSVLogger, TensorBoardLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

Batch = tuple[Tensor, Tensor]


class Accuracy(nn.Module):
    """Share of right answers."""

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        return (logits.argmax(dim=1) == labels).float().mean()


class Classifier(L.LightningModule):
    def __init__(self, hidden: int = 64) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, 10))
        self.loss = nn.CrossEntropyLoss()
        self.train_acc, self.valid_acc, self.test_acc = Accuracy(), Accuracy(), Accuracy()

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.net(images)
        return logits

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, labels = batch
        logits = self(images)
        loss: Tensor = self.loss(logits, labels)
        self.log("train_loss", loss, on_step=True, on_epoch=True, prog_bar=True)
        self.log("train_acc", self.train_acc(logits, labels), on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        images, labels = batch
        logits = self(images)
        self.log("valid_loss", self.loss(logits, labels), prog_bar=True)
        self.log("valid_acc", self.valid_acc(logits, labels), prog_bar=True)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        images, labels = batch
        logits = self(images)
        self.log_dict({"test_loss": self.loss(logits, labels), "test_acc": self.test_acc(logits, labels)})

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return torch.softmax(self(batch[0]), dim=1)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=5e-3)


images, labels = load_digits()
train = DataLoader(TensorDataset(images[:1200], labels[:1200]), batch_size=64, shuffle=True)
valid = DataLoader(TensorDataset(images[1200:1500], labels[1200:1500]), batch_size=64)
test = DataLoader(TensorDataset(images[1500:], labels[1500:]), batch_size=64)

model = Classifier()
trainer = L.Trainer(
    max_epochs=100,
    accelerator="auto",
    callbacks=[EarlyStopping(monitor="valid_loss", mode="min")],
    logger=[CSVLogger(save_dir="logs", name="test"), TensorBoardLogger(save_dir="logs", name="board")],
)
trainer.fit(model, train, valid)
validated = trainer.validate(model, valid)
tested = trainer.test(model, test)
probabilities = trainer.predict(model, test)
