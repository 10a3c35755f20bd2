"""LightningDataModule, combined loaders and samplers for PyTorch."""

__version__ = "0.1.0"
