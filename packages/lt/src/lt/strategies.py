"""Strategies: how the work is shared over processes. Each loads on first use."""

from typing import TYPE_CHECKING

from lt_interfaces.lazy_names import lazy_names

if TYPE_CHECKING:
    from lt_accel import DDPStrategy as DDPStrategy
    from lt_accel import DeepSpeedStrategy as DeepSpeedStrategy
    from lt_accel import FSDPStrategy as FSDPStrategy
    from lt_accel import ModelParallelStrategy as ModelParallelStrategy
    from lt_accel import SingleDeviceStrategy as SingleDeviceStrategy
    from lt_accel import Strategy as Strategy
    from lt_accel import StrategyRegistry as StrategyRegistry
else:
    __all__, __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "lt_accel": "DDPStrategy DeepSpeedStrategy FSDPStrategy ModelParallelStrategy SingleDeviceStrategy "
            "Strategy StrategyRegistry"
        },
    )
