"""The shared typed interfaces of the lt packages: hooks, Protocols, value types, one voice for errors."""

from lt_interfaces.callback import Callback
from lt_interfaces.checkpoint import Checkpoint
from lt_interfaces.engine import Engine
from lt_interfaces.errors import CheckpointError, CorruptCheckpoint, MisconfigurationException, UnsafeCheckpoint
from lt_interfaces.logger import Logger
from lt_interfaces.module_hooks import CALLBACK_HOOKS, MODULE_HOOKS, ModuleHooks, default_hook, is_overridden
from lt_interfaces.names import did_you_mean, nearest
from lt_interfaces.rank import log, rank_zero_info, rank_zero_only, rank_zero_warn
from lt_interfaces.recorder import Recorder
from lt_interfaces.stage import Progress, Stage
from lt_interfaces.stateful import Stateful
from lt_interfaces.trainer import Trainer

__version__ = "0.1.0"

__all__ = [
    "CALLBACK_HOOKS",
    "MODULE_HOOKS",
    "Callback",
    "Checkpoint",
    "CheckpointError",
    "CorruptCheckpoint",
    "Engine",
    "Logger",
    "MisconfigurationException",
    "ModuleHooks",
    "Progress",
    "Recorder",
    "Stage",
    "Stateful",
    "Trainer",
    "UnsafeCheckpoint",
    "default_hook",
    "did_you_mean",
    "is_overridden",
    "log",
    "nearest",
    "rank_zero_info",
    "rank_zero_only",
    "rank_zero_warn",
]
