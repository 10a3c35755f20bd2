"""The kinds of device: how many there are, which ones a request means, and how they are doing."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from lt_interfaces import MisconfigurationException

from lt_accel.registry import AcceleratorRegistry

Devices = int | str | list[int] | tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFacts:
    """One device of this machine: what it is called, how much memory it has and how much of that is free now."""

    device: torch.device
    name: str
    memory_bytes: int | None = None
    free_bytes: int | None = None


class Accelerator:
    """A kind of device; subclass it and register the name to add one."""

    label: ClassVar[str] = ""

    @classmethod
    def name(cls) -> str:
        """What users type."""
        return cls.label

    @staticmethod
    def is_available() -> bool:
        """True if this machine has one."""
        raise NotImplementedError

    @staticmethod
    def auto_device_count() -> int:
        """How many `devices="auto"` takes."""
        raise NotImplementedError

    @staticmethod
    def parse_devices(devices: Devices) -> Any:
        """The request, checked and in one form: a count or a list of indices."""
        raise NotImplementedError

    @staticmethod
    def get_parallel_devices(devices: Any) -> list[torch.device]:
        """One device for each process on this machine."""
        raise NotImplementedError

    def facts(self) -> list[DeviceFacts]:
        """The devices of this kind on this machine; empty if it does not say."""
        return []

    def setup_device(self, device: torch.device) -> None:
        """Make `device` this process's own."""

    def get_device_stats(self, device: torch.device) -> dict[str, Any]:
        """Memory and load, by name."""
        return {}

    def teardown(self) -> None:
        """Let go of what `setup_device` took."""


class CPUAccelerator(Accelerator):
    """The CPU; the number of devices is the number of processes."""

    label = "cpu"

    @staticmethod
    def is_available() -> bool:
        return True

    @staticmethod
    def auto_device_count() -> int:
        return 1

    @staticmethod
    def parse_devices(devices: Devices) -> int:
        count = _read(devices)
        if not isinstance(count, int) or count < 1:
            raise MisconfigurationException(
                f"`devices` on the CPU is a number of processes of at least 1, got {devices!r}. Pass e.g. `devices=2`."
            )
        return count

    @staticmethod
    def get_parallel_devices(devices: Any) -> list[torch.device]:
        return [torch.device("cpu")] * int(devices)

    def facts(self) -> list[DeviceFacts]:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        total, free = _memory()
        name = f"{platform.machine()}, {cores} cores for this process"
        return [DeviceFacts(device=torch.device("cpu"), name=name, memory_bytes=total, free_bytes=free)]

    def get_device_stats(self, device: torch.device) -> dict[str, Any]:
        """Percentages of this machine's memory, processor and swap in use."""
        try:
            import psutil  # type: ignore[import-untyped]
        except ImportError as error:
            raise ImportError("CPU statistics need psutil. Run `pip install 'lt-accel[psutil]'`.") from error
        return {
            "cpu_vm_percent": psutil.virtual_memory().percent,
            "cpu_percent": psutil.cpu_percent(),
            "cpu_swap_percent": psutil.swap_memory().percent,
        }


class CUDAAccelerator(Accelerator):
    """NVIDIA and AMD GPUs. Counting them creates no CUDA context, so processes may still be forked."""

    label = "cuda"

    @staticmethod
    def is_available() -> bool:
        return torch.cuda.device_count() > 0

    @staticmethod
    def auto_device_count() -> int:
        return torch.cuda.device_count()

    @staticmethod
    def parse_devices(devices: Devices) -> list[int]:
        there = torch.cuda.device_count()
        wanted = _read(devices)
        indices = list(range(there if wanted == -1 else wanted)) if isinstance(wanted, int) else wanted
        if not indices or len(set(indices)) < len(indices) or not set(indices) <= set(range(there)):
            raise MisconfigurationException(
                f"`devices={devices!r}` was asked for, but the CUDA GPUs of this machine are {list(range(there))}. "
                "Pass a number of them, a list of their indices, or -1 for all."
            )
        return indices

    @staticmethod
    def get_parallel_devices(devices: Any) -> list[torch.device]:
        return [torch.device("cuda", i) for i in devices]

    def facts(self) -> list[DeviceFacts]:
        """Asks each GPU, which creates a CUDA context: not before processes are forked."""
        found = []
        for device in self.get_parallel_devices(range(torch.cuda.device_count())):
            free, total = torch.cuda.mem_get_info(device)
            name = torch.cuda.get_device_name(device)
            found.append(DeviceFacts(device=device, name=name, memory_bytes=total, free_bytes=free))
        return found

    def setup_device(self, device: torch.device) -> None:
        torch.cuda.set_device(device)

    def get_device_stats(self, device: torch.device) -> dict[str, Any]:
        return dict(torch.cuda.memory_stats(device))

    def teardown(self) -> None:
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            torch.cuda.empty_cache()


class MPSAccelerator(Accelerator):
    """The GPU of an Apple computer; there is one."""

    label = "mps"

    @staticmethod
    def is_available() -> bool:
        return torch.backends.mps.is_available()

    @staticmethod
    def auto_device_count() -> int:
        return 1

    @staticmethod
    def parse_devices(devices: Devices) -> list[int]:
        if _read(devices) not in (1, -1, [0]):
            raise MisconfigurationException(
                f"`devices={devices!r}` was asked for, but MPS has one device. Pass `devices=1`."
            )
        return [0]

    @staticmethod
    def get_parallel_devices(devices: Any) -> list[torch.device]:
        return [torch.device("mps", i) for i in devices]

    def facts(self) -> list[DeviceFacts]:
        total = torch.mps.recommended_max_memory()
        free = total - torch.mps.driver_allocated_memory()
        return [DeviceFacts(device=torch.device("mps", 0), name="MPS", memory_bytes=total, free_bytes=free)]

    def get_device_stats(self, device: torch.device) -> dict[str, Any]:
        return {
            "M1_vm_current": torch.mps.current_allocated_memory(),
            "M1_vm_driver": torch.mps.driver_allocated_memory(),
        }


def devices() -> list[DeviceFacts]:
    """All devices of this machine, the CPU last; those of registered kinds as far as they say.

    Asking GPUs creates a CUDA context, so call it after processes are forked.
    """
    kinds = sorted(available_accelerators(), key=lambda kind: kind.name() == "cpu")
    return [fact for kind in kinds for fact in kind.facts()]


def available_accelerators() -> list[Accelerator]:
    """One of each kind that this machine has and whose package is installed."""
    found: dict[str, Accelerator] = {}
    for name in AcceleratorRegistry.names():
        try:
            kind = AcceleratorRegistry.get(name)
        except ImportError:
            continue
        if kind.is_available():
            found.setdefault(kind.name(), kind)
    return list(found.values())


def _memory() -> tuple[int | None, int | None]:
    """Bytes that this machine has, and that are free for new use, as far as the system says."""
    table = Path("/proc/meminfo")
    if not table.exists():
        if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
            return None, None
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), None
    kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in table.read_text().splitlines()}
    return kilobytes["MemTotal"] * 1024, kilobytes.get("MemAvailable", kilobytes["MemFree"]) * 1024


def find_usable_cuda_devices(num_devices: int = -1) -> list[int]:
    """Indices of GPUs on which a tensor can be made right now; RuntimeError if there are fewer than asked for."""
    usable = []
    for index in range(torch.cuda.device_count()):
        try:
            torch.zeros(1, device=torch.device("cuda", index))
        except RuntimeError:
            continue
        usable.append(index)
        if len(usable) == num_devices:
            break
    if len(usable) < num_devices:
        raise RuntimeError(
            f"{num_devices} GPUs were asked for, but only {usable} can be used. Ask for fewer or free some."
        )
    return usable


def _read(devices: Devices) -> int | list[int]:
    """3, "3" -> 3; [0, 2], "0,2", "0," -> indices."""
    if isinstance(devices, int) and not isinstance(devices, bool):
        return devices
    try:
        if isinstance(devices, str):
            if "," in devices:
                return [int(part) for part in devices.split(",") if part.strip()]
            return int(devices)
        if isinstance(devices, (list, tuple)) and all(type(i) is int for i in devices):
            return list(devices)
    except ValueError:
        pass
    raise TypeError(
        f"`devices` must be a number, a list of indices, a string of either or 'auto', got {devices!r}. "
        "Pass e.g. `devices=2` or `devices=[0, 1]`."
    )
