"""The digits as a dataset of our own and a data module around it."""

import torch
from torch.utils.data import DataLoader, Dataset

import lt as L
from lt.demo import load_digits


class DigitDataset(Dataset):
    """Pairs of an image, shape (64,), and its digit."""

    def __init__(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        self.images, self.labels = images.flatten(1), labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.images[index], self.labels[index]


class DigitData(L.LightningDataModule):
    def __init__(self, batch_size: int = 32) -> None:
        super().__init__()
        self.save_hyperparameters()

    def prepare_data(self) -> None:
        """Where a download would go; one process per machine comes here."""
        load_digits()

    def setup(self, stage: str) -> None:
        images, labels = load_digits()
        self.parts = {
            "train": DigitDataset(images[:1200], labels[:1200]),
            "val": DigitDataset(images[1200:1500], labels[1200:1500]),
            "test": DigitDataset(images[1500:], labels[1500:]),
        }

    def train_dataloader(self):
        return DataLoader(self.parts["train"], batch_size=self.hparams.batch_size, shuffle=True)

    def val_dataloader(self):
        return DataLoader(self.parts["val"], batch_size=self.hparams.batch_size)

    def test_dataloader(self):
        return DataLoader(self.parts["test"], batch_size=self.hparams.batch_size)
