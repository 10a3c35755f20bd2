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
    from lt_accel.strategies.deepspeed import DeepSpeedStrategy
    from lt_accel.strategies.fsdp import FSDPStrategy
    from lt_accel.strategies.model_parallel import ModelParallelStrategy

__all__ = [
    "DDPStrategy",
    "DeepSpeedStrategy",
    "FSDPStrategy",
    "ModelParallelStrategy",
    "ParallelStrategy",
    "SingleDeviceStrategy",
    "Strategy",
]

_HOMES = {"DeepSpeedStrategy": "deepspeed", "FSDPStrategy": "fsdp", "ModelParallelStrategy": "model_parallel"}


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
_deepspeed = partial(_make, "DeepSpeedStrategy")
StrategyRegistry.register("deepspeed", _deepspeed, "DeepSpeed's ZeRO, stage 2")
for _stage in (1, 2, 3):
    StrategyRegistry.register(
        f"deepspeed_stage_{_stage}", _deepspeed, f"DeepSpeed's ZeRO, stage {_stage}", stage=_stage
    )
    StrategyRegistry.register(
        f"deepspeed_stage_{_stage}_offload",
        _deepspeed,
        f"DeepSpeed's ZeRO, stage {_stage}, what can be in the CPU's memory",
        stage=_stage,
        offload_optimizer=True,
        offload_parameters=_stage == 3,
    )
