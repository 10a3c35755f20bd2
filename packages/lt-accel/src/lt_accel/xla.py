"""TPUs through torch_xla, which is imported when it is first used; one device, since its processes are its own."""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from lt_interfaces import MisconfigurationException

from lt_accel.accelerators import Accelerator, Devices
from lt_accel.strategies.single_device import SingleDeviceStrategy


class XLAAccelerator(Accelerator):
    """One TPU core, or what else torch_xla runs on."""

    label = "tpu"

    def __init__(self) -> None:
        if find_spec("torch_xla") is None:
            raise ImportError("`accelerator='tpu'` needs torch_xla. Run `pip install 'lt-accel[tpu]'`.")

    @staticmethod
    def is_available() -> bool:
        return find_spec("torch_xla") is not None

    @staticmethod
    def auto_device_count() -> int:
        return 1

    @staticmethod
    def parse_devices(devices: Devices) -> list[int]:
        if devices not in (1, "1", [0], "auto"):
            raise MisconfigurationException(
                f"`devices={devices!r}` was asked for, but lt trains on one TPU core. Pass `devices=1`."
            )
        return [0]

    @staticmethod
    def get_parallel_devices(devices: Any) -> list[torch.device]:
        return [import_module("torch_xla").device()]


class SingleXLAStrategy(SingleDeviceStrategy):
    """One process on one XLA device, whose work is handed over after each optimizer step."""

    def after_step(self, optimizer: Any) -> None:
        import_module("torch_xla").sync()
