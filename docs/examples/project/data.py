"""The digits as a dataset of our own and a data module around it."""

import lt as L
from lt.demo import load_digits
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

Sample = tuple[Tensor, Tensor]


class DigitDataset(Dataset[Sample]):
    """Pairs of an image, shape (64,), and its digit."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images, self.labels = images.flatten(1), labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Sample:
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
        self.train = DigitDataset(images[:1200], labels[:1200])
        self.val = DigitDataset(images[1200:1500], labels[1200:1500])
        self.test = DigitDataset(images[1500:], labels[1500:])

    def train_dataloader(self) -> DataLoader[Sample]:
        return DataLoader(self.train, self.hparams.batch_size, shuffle=True)

    def val_dataloader(self) -> DataLoader[Sample]:
        return DataLoader(self.val, self.hparams.batch_size)

    def test_dataloader(self) -> DataLoader[Sample]:
        return DataLoader(self.test, self.hparams.batch_size)
