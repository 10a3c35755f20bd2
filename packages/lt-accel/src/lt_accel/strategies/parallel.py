"""Several processes in one of torch's groups: joining it, leaving it, and exchanging values in it."""

import atexit
import os
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from lt_interfaces import MisconfigurationException, did_you_mean

from lt_accel import collectives, process_group
from lt_accel.accelerators import Accelerator
from lt_accel.environments import ClusterEnvironment
from lt_accel.strategies.strategy import Strategy

_START_METHODS = ("popen", "spawn", "fork", "forkserver")


class ParallelStrategy(Strategy):
    """Several processes, one device each; subclasses say what they share.

    `start_method` says how processes come to be where no launcher did it: "popen" runs the command line again, the
    others of `multiprocessing` start a function.
    """

    distributed = True
    assembly_timeout = timedelta(minutes=10)
    """How long the ranks wait for each other at the start, when `timeout` does not count yet; set it on the object."""

    def __init__(
        self,
        *,
        process_group_backend: str | None = None,
        timeout: timedelta | None = timedelta(minutes=30),
        start_method: str = "popen",
    ) -> None:
        if start_method not in _START_METHODS:
            raise ValueError(
                f"There is no `start_method` {start_method!r}. {did_you_mean(start_method, _START_METHODS)}"
            )
        self.start_method = start_method
        self.process_group_backend = process_group_backend
        self.timeout = timeout or timedelta(minutes=30)
        self._owns_group = False

    def connect(
        self, accelerator: Accelerator, devices: list[torch.device], num_nodes: int, environment: ClusterEnvironment
    ) -> None:
        if devices[0].type == "mps" and (len(devices) > 1 or num_nodes > 1):
            raise MisconfigurationException(
                f"`{type(self).__name__}` cannot use MPS, which no communication library supports. "
                "Pass `accelerator='cpu'`."
            )
        self.accelerator, self.environment = accelerator, environment
        self._devices, self.num_processes, self.num_nodes = devices, len(devices), num_nodes
        environment.validate_settings(len(devices), num_nodes)
        self._place(environment)

    def _place(self, environment: ClusterEnvironment) -> None:
        self.world_size = environment.world_size()
        self.global_rank, self.local_rank = environment.global_rank(), environment.local_rank()
        self.node_rank = environment.node_rank()
        self.device = self._devices[self.local_rank]

    def join(self) -> None:
        assert self.environment is not None  # noqa: S101
        environment = self.environment
        self._place(environment)
        super().join()
        if environment.creates_processes_externally:
            _tell_torch(environment)
        self._owns_group = process_group.join(
            backend=self.process_group_backend or process_group.default_backend(self.device),
            rank=self.global_rank,
            world_size=self.world_size,
            timeout=self.timeout,
            assembly_timeout=self.assembly_timeout,
            address=environment.main_address,
            port=environment.main_port,
        )
        atexit.register(self.leave)  # a process that ends within a group is aborted now and then

    def leave(self) -> None:
        atexit.unregister(self.leave)
        if self._owns_group:
            process_group.leave()
            self._owns_group = False
        super().leave()

    def barrier(self, name: str | None = None) -> None:
        dist.barrier(device_ids=[self.device.index] if self.device.type == "cuda" else None)

    def broadcast(self, obj: Any, src: int = 0) -> Any:
        return collectives.broadcast(obj, src, self.device)

    def all_reduce(self, data: Any, reduce_op: str = "mean", group: Any = None) -> Any:
        return collectives.all_reduce(data, reduce_op, self.device, group)

    def all_gather(self, data: Any, group: Any = None, sync_grads: bool = False) -> Any:
        return collectives.all_gather(data, self.device, group, sync_grads)


def _tell_torch(environment: ClusterEnvironment) -> None:
    """The variables by which torch and the rank-zero messages know a process, where the launcher used its own."""
    for name, value in (
        ("RANK", environment.global_rank()),
        ("LOCAL_RANK", environment.local_rank()),
        ("WORLD_SIZE", environment.world_size()),
        ("MASTER_ADDR", environment.main_address),
        ("MASTER_PORT", environment.main_port),
    ):
        os.environ.setdefault(name, str(value))
