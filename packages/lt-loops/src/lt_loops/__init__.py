"""fit, validate, test and predict for any module with a `training_step`."""

from lt_loops.engine import SingleDevice
from lt_loops.intent import Resume
from lt_loops.optimizers import LightningOptimizer, LRSchedulerConfig
from lt_loops.snapshot import Snapshot
from lt_loops.trainer import Trainer

__version__ = "0.1.0"

__all__ = ["LRSchedulerConfig", "LightningOptimizer", "Resume", "SingleDevice", "Snapshot", "Trainer"]
