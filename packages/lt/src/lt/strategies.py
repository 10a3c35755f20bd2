"""Strategies: how the work is shared over processes. The sharded ones load on first use."""

from typing import TYPE_CHECKING, Any

import lt_accel
from lt_accel import DDPStrategy as DDPStrategy
from lt_accel import SingleDeviceStrategy as SingleDeviceStrategy
from lt_accel import Strategy as Strategy
from lt_accel import StrategyRegistry as StrategyRegistry

if TYPE_CHECKING:
    from lt_accel import DeepSpeedStrategy as DeepSpeedStrategy
    from lt_accel import FSDPStrategy as FSDPStrategy
    from lt_accel import ModelParallelStrategy as ModelParallelStrategy

__all__ = [
    "DDPStrategy",
    "DeepSpeedStrategy",
    "FSDPStrategy",
    "ModelParallelStrategy",
    "SingleDeviceStrategy",
    "Strategy",
    "StrategyRegistry",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(lt_accel, name)
    raise AttributeError(f"module 'lt.strategies' has no attribute {name!r}")
