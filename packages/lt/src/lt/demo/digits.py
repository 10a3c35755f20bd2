"""The 1,797 handwritten digits that travel with the package; see DIGITS.md for where they come from."""

import gzip
from importlib.resources import files

import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from lt.datamodule import LightningDataModule


def load_digits() -> tuple[Tensor, Tensor]:
    """Images of shape (1797, 1, 8, 8), float from 0 to 1, and labels of shape (1797,)."""
    raw = bytearray(gzip.decompress(files("lt.demo").joinpath("digits.gz").read_bytes()))
    table = torch.frombuffer(raw, dtype=torch.uint8).view(-1, 65)
    return table[:, :64].view(-1, 1, 8, 8).float() / 16, table[:, 64].long()


class Digits(LightningDataModule):
    """Training, validation, test and prediction loaders over the digits: 1,257, 270 and 270 of them.

    Args:
        batch_size: Images per batch.
        num_workers: Worker processes per loader.
        split_seed: Seed of the split; the same seed gives the same three parts.
    """

    def __init__(self, batch_size: int = 32, num_workers: int = 0, split_seed: int = 0) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.batch_size, self.num_workers, self.split_seed = batch_size, num_workers, split_seed

    def setup(self, stage: str) -> None:
        images, labels = load_digits()
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(self.split_seed))
        parts = torch.split(order, [1257, 270, 270])
        self.train, self.val, self.test = (TensorDataset(images[i], labels[i]) for i in parts)

    def train_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        return DataLoader(self.train, self.batch_size, shuffle=True, num_workers=self.num_workers)

    def val_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        return DataLoader(self.val, self.batch_size, num_workers=self.num_workers)

    def test_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        return DataLoader(self.test, self.batch_size, num_workers=self.num_workers)

    predict_dataloader = test_dataloader
