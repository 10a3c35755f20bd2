"""Fabric: device, precision, strategy and launch for any PyTorch loop."""

from lt_accel.accelerators import (
    Accelerator,
    CPUAccelerator,
    CUDAAccelerator,
    MPSAccelerator,
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
from lt_accel.precision import DoublePrecision, HalfPrecision, MixedPrecision, Precision
from lt_accel.registry import AcceleratorRegistry, StrategyRegistry
from lt_accel.seed import isolate_rng, pl_worker_init_function, reset_seed, seed_everything
from lt_accel.strategies import DDPStrategy, SingleDeviceStrategy, Strategy
from lt_accel.wrappers import is_wrapped

__version__ = "0.1.0"

__all__ = [
    "Accelerator",
    "AcceleratorRegistry",
    "CPUAccelerator",
    "CUDAAccelerator",
    "ClusterEnvironment",
    "DDPStrategy",
    "DoublePrecision",
    "Fabric",
    "HalfPrecision",
    "KubeflowEnvironment",
    "LSFEnvironment",
    "LightningEnvironment",
    "MPIEnvironment",
    "MPSAccelerator",
    "MixedPrecision",
    "Precision",
    "SLURMEnvironment",
    "SingleDeviceStrategy",
    "Strategy",
    "StrategyRegistry",
    "TorchElasticEnvironment",
    "TorchSyncBatchNorm",
    "find_usable_cuda_devices",
    "is_wrapped",
    "isolate_rng",
    "pl_worker_init_function",
    "reset_seed",
    "seed_everything",
]
