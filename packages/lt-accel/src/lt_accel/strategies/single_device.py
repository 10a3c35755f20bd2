"""One process, one device."""

import torch

from lt_accel.strategies.strategy import Strategy
from lt_accel.transfer import device_named


class SingleDeviceStrategy(Strategy):
    """One process on one device; the device of the accelerator unless one is given."""

    def __init__(self, device: torch.device | str | int | None = None) -> None:
        self._given = None if device is None else device_named(device)

    def connect(self, accelerator, devices, num_nodes, environment):  # type: ignore[no-untyped-def]
        super().connect(accelerator, devices, num_nodes, environment)
        if self._given is not None:
            self.device = self._given
