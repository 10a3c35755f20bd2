"""What `plugins` may hold, told apart by what it is."""

from typing import Any

from lt_checkpoint import CheckpointIO

from lt_accel.arguments import listed
from lt_accel.cluster_environment import ClusterEnvironment
from lt_accel.precision import Precision


class Plugins:
    """The precision, the environment and the place for checkpoints among what was passed as `plugins`."""

    def __init__(self, plugins: Any, precision: Any) -> None:
        self.precision = precision
        self.environment: ClusterEnvironment | None = None
        self.checkpoint_io: CheckpointIO | None = None
        for plugin in listed(plugins):
            if isinstance(plugin, Precision) and precision is not None:
                raise ValueError(f"Both `precision={precision!r}` and a precision plugin were given. Pass one of them.")
            if isinstance(plugin, Precision) and self.precision is not None:
                raise ValueError("Two plugins are precisions. Pass one `Precision`.")
            if isinstance(plugin, Precision):
                self.precision = plugin
            elif isinstance(plugin, ClusterEnvironment) and self.environment is not None:
                raise ValueError("Two plugins say who started the processes. Pass one `ClusterEnvironment`.")
            elif isinstance(plugin, ClusterEnvironment):
                self.environment = plugin
            elif isinstance(plugin, CheckpointIO) and self.checkpoint_io is not None:
                raise ValueError("Two plugins say where checkpoints go. Pass one `CheckpointIO`.")
            elif isinstance(plugin, CheckpointIO):
                self.checkpoint_io = plugin
            else:
                raise TypeError(
                    "`plugins` takes a `Precision`, a `ClusterEnvironment` or a `CheckpointIO`, got a "
                    f"`{type(plugin).__name__}`. Leave it out."
                )
