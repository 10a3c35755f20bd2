"""lt, and beside it whatever else has Lightning's interface, under the same two settings."""

import logging
import tempfile
import warnings
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch

FILES = tempfile.TemporaryDirectory()


@dataclass(frozen=True)
class Framework:
    """A package with `Trainer`, `LightningModule` and `Fabric`."""

    name: str
    package: Any
    loggers: Any

    @property
    def module(self) -> Any:
        """The base class of modules."""
        return self.package.LightningModule

    def lean(self, epochs: int = 1) -> Any:
        """A trainer with everything that can be left out left out."""
        return self.package.Trainer(
            max_epochs=epochs, accelerator="cpu", devices=1, logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip

    def as_used(self, epochs: int = 1, **others: Any) -> Any:
        """A trainer with its defaults: CSV files, progress bar, checkpoints, summary."""
        root = tempfile.mkdtemp(dir=FILES.name)
        logger = self.loggers.CSVLogger(root)
        return self.package.Trainer(
            max_epochs=epochs, accelerator="cpu", devices=1, logger=logger, default_root_dir=root, **others
        )

    def fabric(self) -> Any:
        """Its engine, for a loop written by hand."""
        return self.package.Fabric(accelerator="cpu", devices=1)


LT = Framework("lt", import_module("lt"), import_module("lt.loggers"))


def beside(name: str | None) -> list[Framework]:
    """The framework asked for, if it is installed."""
    if name is None:
        return []
    try:
        package = import_module(name)
    except ImportError:
        print(f"`{name}` is not installed here, so its column is left out.")
        return []
    home = f"{name}.pytorch" if name == "lightning" else name
    return [Framework(name, package, import_module(f"{home}.loggers"))]


def quiet() -> None:
    """One thread, and no words of the frameworks between the tables."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
