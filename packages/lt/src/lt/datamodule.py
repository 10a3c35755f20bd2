"""The data module with the argparse methods of former years."""

import lt_data

from lt.argparse_arguments import ArgparseArguments


class LightningDataModule(ArgparseArguments, lt_data.LightningDataModule):
    """Datasets and loaders in one place; see `lt_data.LightningDataModule`."""
