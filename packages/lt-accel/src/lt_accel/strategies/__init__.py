"""How processes share the work: one class for each way, one file for each class."""

from lt_accel.strategies.ddp import DDPStrategy
from lt_accel.strategies.single_device import SingleDeviceStrategy
from lt_accel.strategies.strategy import Strategy

__all__ = ["DDPStrategy", "SingleDeviceStrategy", "Strategy"]
