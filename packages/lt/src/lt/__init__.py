"""Train PyTorch models without writing the loop. Names resolve on first use; importing this opens and loads nothing."""

from typing import TYPE_CHECKING

from lt_interfaces.lazy_names import lazy_names

if TYPE_CHECKING:
    from lt_accel import Fabric as Fabric
    from lt_accel import seed_everything as seed_everything
    from lt_interfaces import Callback as Callback
    from lt_loops import Resume as Resume
    from lt_module import LightningModule as LightningModule

    from lt import accelerators as accelerators
    from lt import callbacks as callbacks
    from lt import cli as cli
    from lt import demo as demo
    from lt import loggers as loggers
    from lt import plugins as plugins
    from lt import profilers as profilers
    from lt import strategies as strategies
    from lt import testing as testing
    from lt import tuner as tuner
    from lt import utilities as utilities
    from lt.datamodule import LightningDataModule as LightningDataModule
    from lt.trainer import Trainer as Trainer
else:
    __all__, __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "lt_accel": "Fabric seed_everything",
            "lt_interfaces": "Callback",
            "lt_loops": "Resume",
            "lt_module": "LightningModule",
            ".": "accelerators callbacks cli demo loggers plugins profilers strategies testing tuner utilities",
            ".datamodule": "LightningDataModule",
            ".trainer": "Trainer",
        },
    )

__version__ = "0.1.0"
