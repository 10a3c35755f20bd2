"""How processes share the work: one class for each way, one file for each class, imported when it is first named.

Those that shard bring in torch's distributed tensors, which takes half a second.
"""

from typing import TYPE_CHECKING

from lt_interfaces.lazy_names import lazy_names

if TYPE_CHECKING:
    from lt_accel.strategies.ddp import DDPStrategy as DDPStrategy
    from lt_accel.strategies.deepspeed import DeepSpeedStrategy as DeepSpeedStrategy
    from lt_accel.strategies.fsdp import FSDPStrategy as FSDPStrategy
    from lt_accel.strategies.model_parallel import ModelParallelStrategy as ModelParallelStrategy
    from lt_accel.strategies.parallel import ParallelStrategy as ParallelStrategy
    from lt_accel.strategies.single_device import SingleDeviceStrategy as SingleDeviceStrategy
    from lt_accel.strategies.strategy import Strategy as Strategy
else:
    __all__, __getattr__, __dir__ = lazy_names(
        __name__,
        {
            ".ddp": "DDPStrategy",
            ".deepspeed": "DeepSpeedStrategy",
            ".fsdp": "FSDPStrategy",
            ".model_parallel": "ModelParallelStrategy",
            ".parallel": "ParallelStrategy",
            ".single_device": "SingleDeviceStrategy",
            ".strategy": "Strategy",
        },
    )
