"""Accelerators: what the work runs on."""

from lt_accel import Accelerator as Accelerator
from lt_accel import AcceleratorRegistry as AcceleratorRegistry
from lt_accel import CPUAccelerator as CPUAccelerator
from lt_accel import CUDAAccelerator as CUDAAccelerator
from lt_accel import MPSAccelerator as MPSAccelerator
from lt_accel import find_usable_cuda_devices as find_usable_cuda_devices

__all__ = [
    "Accelerator",
    "AcceleratorRegistry",
    "CPUAccelerator",
    "CUDAAccelerator",
    "MPSAccelerator",
    "find_usable_cuda_devices",
]
