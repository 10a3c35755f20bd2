"""Train PyTorch models without writing the loop. Names resolve on first use; importing this opens and loads nothing."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lt_interfaces import did_you_mean

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

__version__ = "0.1.0"

_HOMES = {
    "Callback": "lt_interfaces",
    "Fabric": "lt_accel",
    "LightningDataModule": "lt.datamodule",
    "LightningModule": "lt_module",
    "Resume": "lt_loops",
    "Trainer": "lt.trainer",
    "seed_everything": "lt_accel",
}
_SUBMODULES = (
    "accelerators", "callbacks", "cli", "demo", "loggers", "plugins", "profilers", "strategies", "testing", "tuner",
    "utilities",
)  # fmt: skip

__all__ = [
    "Callback",
    "Fabric",
    "LightningDataModule",
    "LightningModule",
    "Resume",
    "Trainer",
    "accelerators",
    "callbacks",
    "cli",
    "demo",
    "loggers",
    "plugins",
    "profilers",
    "seed_everything",
    "strategies",
    "testing",
    "tuner",
    "utilities",
]


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return import_module(f"lt.{name}")
    if name in _HOMES:
        value = globals()[name] = getattr(import_module(_HOMES[name]), name)
        return value
    raise AttributeError(f"module 'lt' has no attribute {name!r}. {did_you_mean(name, __all__)}")


def __dir__() -> list[str]:
    return sorted(__all__)
