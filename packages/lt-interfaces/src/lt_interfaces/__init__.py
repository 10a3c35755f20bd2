"""The shared typed interfaces of the lt packages: hooks, Protocols, value types, one voice for errors."""

from typing import TYPE_CHECKING

from lt_interfaces.lazy_names import lazy_names

if TYPE_CHECKING:
    from lt_interfaces.callback import Callback as Callback
    from lt_interfaces.checkpoint import Checkpoint as Checkpoint
    from lt_interfaces.engine import Engine as Engine
    from lt_interfaces.errors import CheckpointError as CheckpointError
    from lt_interfaces.errors import CorruptCheckpoint as CorruptCheckpoint
    from lt_interfaces.errors import MisconfigurationException as MisconfigurationException
    from lt_interfaces.errors import UnsafeCheckpoint as UnsafeCheckpoint
    from lt_interfaces.logger import Logger as Logger
    from lt_interfaces.module_hooks import CALLBACK_HOOKS as CALLBACK_HOOKS
    from lt_interfaces.module_hooks import MODULE_HOOKS as MODULE_HOOKS
    from lt_interfaces.module_hooks import ModuleHooks as ModuleHooks
    from lt_interfaces.module_hooks import default_hook as default_hook
    from lt_interfaces.module_hooks import is_overridden as is_overridden
    from lt_interfaces.names import did_you_mean as did_you_mean
    from lt_interfaces.names import nearest as nearest
    from lt_interfaces.rank import log as log
    from lt_interfaces.rank import rank_zero_info as rank_zero_info
    from lt_interfaces.rank import rank_zero_only as rank_zero_only
    from lt_interfaces.rank import rank_zero_warn as rank_zero_warn
    from lt_interfaces.recorder import Recorder as Recorder
    from lt_interfaces.stage import Progress as Progress
    from lt_interfaces.stage import Stage as Stage
    from lt_interfaces.stateful import Stateful as Stateful
    from lt_interfaces.trainer import Trainer as Trainer
else:
    __all__, __getattr__, __dir__ = lazy_names(
        __name__,
        {
            ".callback": "Callback",
            ".checkpoint": "Checkpoint",
            ".engine": "Engine",
            ".errors": "CheckpointError CorruptCheckpoint MisconfigurationException UnsafeCheckpoint",
            ".logger": "Logger",
            ".module_hooks": "CALLBACK_HOOKS MODULE_HOOKS ModuleHooks default_hook is_overridden",
            ".names": "did_you_mean nearest",
            ".rank": "log rank_zero_info rank_zero_only rank_zero_warn",
            ".recorder": "Recorder",
            ".stage": "Progress Stage",
            ".stateful": "Stateful",
            ".trainer": "Trainer",
        },
    )

__version__ = "0.1.0"
