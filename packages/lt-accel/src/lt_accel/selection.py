"""From what the user asks for (names, numbers, "auto") to the objects that do it."""

import sys

import torch
from lt_interfaces import MisconfigurationException

from lt_accel.accelerators import Accelerator, Devices, available_accelerators
from lt_accel.environments import ClusterEnvironment, LightningEnvironment
from lt_accel.registry import AcceleratorRegistry, StrategyRegistry
from lt_accel.strategies import Strategy

_REFUSED = {
    "dp": "torch's DataParallel, which is slower than one process for each device. Use `strategy='ddp'`",
    "xla": "several TPU cores, and lt trains on one. Use `accelerator='tpu', devices=1, strategy='auto'`",
}
"""Names that users of other frameworks know, and what to do instead."""


def gpu() -> Accelerator:
    """CUDA or MPS, whichever is there."""
    mps: Accelerator = AcceleratorRegistry.get("mps")
    return mps if mps.is_available() else AcceleratorRegistry.get("cuda")


def best() -> Accelerator:
    """A GPU if there is one, else the CPU."""
    found = gpu()
    return found if found.is_available() else AcceleratorRegistry.get("cpu")


def choose_accelerator(accelerator: Accelerator | str) -> Accelerator:
    """The accelerator of that name, which must be on this machine."""
    if isinstance(accelerator, Accelerator):
        chosen, asked = accelerator, accelerator.name()
    elif isinstance(accelerator, str):
        asked = accelerator.lower()
        chosen = AcceleratorRegistry.get(asked)
    else:
        raise TypeError(
            f"`accelerator` must be a name such as 'cpu' or an `Accelerator`, got {accelerator!r}. Pass one of these."
        )
    if not chosen.is_available():
        there = sorted(kind.name() for kind in available_accelerators())
        kind = {"gpu": "CUDA GPU", "cuda": "CUDA GPU", "mps": "MPS GPU"}.get(asked, f"{asked!r} device")
        raise MisconfigurationException(
            f"`accelerator={asked!r}` was asked for, but this machine has no {kind}; available: {', '.join(there)}. "
            "Pass one of these, or 'auto'."
        )
    return chosen


def choose_devices(accelerator: Accelerator, devices: Devices, environment: ClusterEnvironment) -> list[torch.device]:
    """One device for each process on this machine; "auto" is what the launcher started, else all there are.

    In a notebook or at a prompt "auto" is one, since one process is what runs there.
    """
    if devices != "auto":
        return accelerator.get_parallel_devices(accelerator.parse_devices(devices))
    there = accelerator.auto_device_count()
    started = environment.local_world_size()
    if started is None:
        return accelerator.get_parallel_devices(accelerator.parse_devices(1 if is_interactive() else there))
    if there == 1 and started > 1 and accelerator.name() != "cpu":  # each process was given a GPU of its own
        return accelerator.get_parallel_devices(accelerator.parse_devices(1)) * started
    return accelerator.get_parallel_devices(accelerator.parse_devices(started))


def choose_strategy(
    strategy: Strategy | str, devices: list[torch.device], num_nodes: int, environment: ClusterEnvironment
) -> Strategy:
    """The strategy of that name; "auto" is one process for one device, else DDP."""
    if not isinstance(strategy, (Strategy, str)):
        raise TypeError(
            f"`strategy` must be a name such as 'ddp' or a `Strategy`, got {strategy!r}. Pass one of these."
        )
    interactive = is_interactive() and not environment.creates_processes_externally
    strategy = strategy.lower() if isinstance(strategy, str) else strategy
    name = strategy
    if isinstance(name, str) and (known := _REFUSED.get(name.split("_")[0])):
        raise MisconfigurationException(f"`strategy={name!r}` is {known}.")
    if strategy == "auto":
        alone = len(devices) == 1 and num_nodes == 1
        if alone and not isinstance(environment, LightningEnvironment):
            environment.validate_settings(1, 1)  # else each process of the job would train on its own, unasked
        single = "single_xla" if devices[0].type == "xla" else "single_device"
        name = single if alone else "ddp_fork" if interactive else "ddp"
    chosen: Strategy = StrategyRegistry.get(name) if isinstance(name, str) else name
    if interactive and chosen.start_method in ("popen", "spawn") and len(devices) > 1:
        raise MisconfigurationException(
            f"`strategy={strategy!r}` starts processes by {chosen.start_method}, which cannot see what a notebook or a "
            "prompt has defined. Use `strategy='ddp_notebook'` or `devices=1`."
        )
    return chosen


def is_interactive() -> bool:
    """True in a notebook or at Python's prompt."""
    return hasattr(sys, "ps1") or bool(sys.flags.interactive)
