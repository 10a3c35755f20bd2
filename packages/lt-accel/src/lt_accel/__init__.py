"""Fabric: device, precision, strategy and launch for any PyTorch loop."""

from typing import TYPE_CHECKING, Any

from lt_accel import strategies
from lt_accel.accelerators import (
    Accelerator,
    CPUAccelerator,
    CUDAAccelerator,
    DeviceFacts,
    MPSAccelerator,
    devices,
    find_usable_cuda_devices,
)
from lt_accel.batch_norm import TorchSyncBatchNorm
from lt_accel.environments import (
    ClusterEnvironment,
    KubeflowEnvironment,
    LightningEnvironment,
    LSFEnvironment,
    MPIEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)
from lt_accel.fabric import Fabric
from lt_accel.float8 import Float8Precision, TransformerEnginePrecision
from lt_accel.precision import DoublePrecision, HalfPrecision, MixedPrecision, Precision
from lt_accel.registry import AcceleratorRegistry, StrategyRegistry
from lt_accel.seed import isolate_rng, pl_worker_init_function, reset_seed, seed_everything
from lt_accel.strategies import DDPStrategy, ParallelStrategy, SingleDeviceStrategy, Strategy
from lt_accel.wrappers import is_wrapped
from lt_accel.xla import SingleXLAStrategy, XLAAccelerator

if TYPE_CHECKING:
    from lt_accel.strategies import DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy

__version__ = "0.1.0"

__all__ = [
    "Accelerator",
    "AcceleratorRegistry",
    "CPUAccelerator",
    "CUDAAccelerator",
    "ClusterEnvironment",
    "DDPStrategy",
    "DeepSpeedStrategy",
    "DeviceFacts",
    "DoublePrecision",
    "FSDPStrategy",
    "Fabric",
    "Float8Precision",
    "HalfPrecision",
    "KubeflowEnvironment",
    "LSFEnvironment",
    "LightningEnvironment",
    "MPIEnvironment",
    "MPSAccelerator",
    "MixedPrecision",
    "ModelParallelStrategy",
    "ParallelStrategy",
    "Precision",
    "SLURMEnvironment",
    "SingleDeviceStrategy",
    "SingleXLAStrategy",
    "Strategy",
    "StrategyRegistry",
    "TorchElasticEnvironment",
    "TorchSyncBatchNorm",
    "TransformerEnginePrecision",
    "XLAAccelerator",
    "devices",
    "find_usable_cuda_devices",
    "is_wrapped",
    "isolate_rng",
    "pl_worker_init_function",
    "reset_seed",
    "seed_everything",
]


def __getattr__(name: str) -> Any:
    if name in ("DeepSpeedStrategy", "FSDPStrategy", "ModelParallelStrategy"):  # not before they are asked for
        return getattr(strategies, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
