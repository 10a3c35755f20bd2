"""Fabric: device, precision, strategy and launch for any PyTorch loop."""

from typing import TYPE_CHECKING

from lt_interfaces.lazy_names import lazy_names

if TYPE_CHECKING:
    from lt_accel import strategies as strategies
    from lt_accel.accelerators import Accelerator as Accelerator
    from lt_accel.accelerators import CPUAccelerator as CPUAccelerator
    from lt_accel.accelerators import CUDAAccelerator as CUDAAccelerator
    from lt_accel.accelerators import DeviceFacts as DeviceFacts
    from lt_accel.accelerators import MPSAccelerator as MPSAccelerator
    from lt_accel.accelerators import devices as devices
    from lt_accel.accelerators import find_usable_cuda_devices as find_usable_cuda_devices
    from lt_accel.batch_norm import TorchSyncBatchNorm as TorchSyncBatchNorm
    from lt_accel.environments import ClusterEnvironment as ClusterEnvironment
    from lt_accel.environments import KubeflowEnvironment as KubeflowEnvironment
    from lt_accel.environments import LightningEnvironment as LightningEnvironment
    from lt_accel.environments import LSFEnvironment as LSFEnvironment
    from lt_accel.environments import MPIEnvironment as MPIEnvironment
    from lt_accel.environments import SLURMEnvironment as SLURMEnvironment
    from lt_accel.environments import TorchElasticEnvironment as TorchElasticEnvironment
    from lt_accel.fabric import Fabric as Fabric
    from lt_accel.float8 import Float8Precision as Float8Precision
    from lt_accel.float8 import TransformerEnginePrecision as TransformerEnginePrecision
    from lt_accel.precision import DoublePrecision as DoublePrecision
    from lt_accel.precision import HalfPrecision as HalfPrecision
    from lt_accel.precision import MixedPrecision as MixedPrecision
    from lt_accel.precision import Precision as Precision
    from lt_accel.quantization import BitsandbytesPrecision as BitsandbytesPrecision
    from lt_accel.registry import AcceleratorRegistry as AcceleratorRegistry
    from lt_accel.registry import StrategyRegistry as StrategyRegistry
    from lt_accel.seed import isolate_rng as isolate_rng
    from lt_accel.seed import pl_worker_init_function as pl_worker_init_function
    from lt_accel.seed import reset_seed as reset_seed
    from lt_accel.seed import seed_everything as seed_everything
    from lt_accel.strategies import DDPStrategy as DDPStrategy
    from lt_accel.strategies import DeepSpeedStrategy as DeepSpeedStrategy
    from lt_accel.strategies import FSDPStrategy as FSDPStrategy
    from lt_accel.strategies import ModelParallelStrategy as ModelParallelStrategy
    from lt_accel.strategies import ParallelStrategy as ParallelStrategy
    from lt_accel.strategies import SingleDeviceStrategy as SingleDeviceStrategy
    from lt_accel.strategies import Strategy as Strategy
    from lt_accel.wrappers import is_wrapped as is_wrapped
    from lt_accel.xla import SingleXLAStrategy as SingleXLAStrategy
    from lt_accel.xla import XLAAccelerator as XLAAccelerator
else:
    __all__, __getattr__, __dir__ = lazy_names(
        __name__,
        {
            ".": "strategies",
            ".accelerators": "Accelerator CPUAccelerator CUDAAccelerator DeviceFacts MPSAccelerator "
            "devices find_usable_cuda_devices",
            ".batch_norm": "TorchSyncBatchNorm",
            ".environments": "ClusterEnvironment KubeflowEnvironment LSFEnvironment LightningEnvironment "
            "MPIEnvironment SLURMEnvironment TorchElasticEnvironment",
            ".fabric": "Fabric",
            ".float8": "Float8Precision TransformerEnginePrecision",
            ".precision": "DoublePrecision HalfPrecision MixedPrecision Precision",
            ".quantization": "BitsandbytesPrecision",
            ".registry": "AcceleratorRegistry StrategyRegistry",
            ".seed": "isolate_rng pl_worker_init_function reset_seed seed_everything",
            ".strategies": "DDPStrategy DeepSpeedStrategy FSDPStrategy ModelParallelStrategy ParallelStrategy "
            "SingleDeviceStrategy Strategy",
            ".wrappers": "is_wrapped",
            ".xla": "SingleXLAStrategy XLAAccelerator",
        },
    )

__version__ = "0.1.0"
