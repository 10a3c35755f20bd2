"""LightningDataModule, combined loaders and samplers for PyTorch."""

from typing import TYPE_CHECKING

from lt_interfaces.lazy_names import lazy_names

if TYPE_CHECKING:
    from lt_data.combined import CombinedLoader as CombinedLoader
    from lt_data.datamodule import LightningDataModule as LightningDataModule
    from lt_data.resumable import ResumableLoader as ResumableLoader
    from lt_data.sampler import ResumableSampler as ResumableSampler
    from lt_data.sampler import sample_ids as sample_ids
    from lt_data.seeding import seed_worker as seed_worker
    from lt_data.tensors import TensorLoader as TensorLoader
else:
    __all__, __getattr__, __dir__ = lazy_names(
        __name__,
        {
            ".combined": "CombinedLoader",
            ".datamodule": "LightningDataModule",
            ".resumable": "ResumableLoader",
            ".sampler": "ResumableSampler sample_ids",
            ".seeding": "seed_worker",
            ".tensors": "TensorLoader",
        },
    )

__version__ = "0.1.0"
