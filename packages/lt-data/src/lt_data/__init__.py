"""LightningDataModule, combined loaders and samplers for PyTorch."""

from lt_data.combined import CombinedLoader
from lt_data.datamodule import LightningDataModule
from lt_data.resumable import ResumableLoader
from lt_data.sampler import ResumableSampler, sample_ids
from lt_data.seeding import seed_worker
from lt_data.tensors import TensorLoader

__version__ = "0.1.0"

__all__ = [
    "CombinedLoader",
    "LightningDataModule",
    "ResumableLoader",
    "ResumableSampler",
    "TensorLoader",
    "sample_ids",
    "seed_worker",
]
