"""How processes share the work: one class for each way, one file for each class.

Those that bring in torch's distributed tensors are imported when they are first named, which takes half a second.
"""

from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from lt_accel.registry import StrategyRegistry
from lt_accel.strategies.ddp import DDPStrategy
from lt_accel.strategies.parallel import ParallelStrategy
from lt_accel.strategies.single_device import SingleDeviceStrategy
from lt_accel.strategies.strategy import Strategy

if TYPE_CHECKING:
    from lt_accel.strategies.fsdp import FSDPStrategy
    from lt_accel.strategies.model_parallel import ModelParallelStrategy

__all__ = [
    "DDPStrategy",
    "FSDPStrategy",
    "ModelParallelStrategy",
    "ParallelStrategy",
    "SingleDeviceStrategy",
    "Strategy",
]

_HOMES = {"FSDPStrategy": "fsdp", "ModelParallelStrategy": "model_parallel"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def _make(name: str, **options: Any) -> Any:
    return __getattr__(name)(**options)


_fsdp = partial(_make, "FSDPStrategy")
StrategyRegistry.register("fsdp", _fsdp, "fully sharded data parallel: torch's fully_shard")
StrategyRegistry.register(
    "fsdp_cpu_offload", _fsdp, "fully sharded, what is not needed kept in the CPU's memory", cpu_offload=True
)
