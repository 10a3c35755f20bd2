"""Strategies: how the work is shared over processes."""

from lt_accel import DDPStrategy as DDPStrategy
from lt_accel import SingleDeviceStrategy as SingleDeviceStrategy
from lt_accel import Strategy as Strategy
from lt_accel import StrategyRegistry as StrategyRegistry

__all__ = ["DDPStrategy", "SingleDeviceStrategy", "Strategy", "StrategyRegistry"]
