"""Tensor parallel and data parallel over a mesh, as the module itself says in `configure_model`."""

from collections.abc import Callable
from typing import Any

import torch
from lt_interfaces import MisconfigurationException
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor

from lt_accel.accelerators import Accelerator
from lt_accel.environments import ClusterEnvironment
from lt_accel.precision import Precision
from lt_accel.strategies.sharded import ShardedStrategy
from lt_accel.transfer import map_tensors

_DATA, _TENSOR = "data_parallel", "tensor_parallel"


class ModelParallelStrategy(ShardedStrategy):
    """A mesh of processes, "data_parallel" x "tensor_parallel"; by default machines x devices of one.

    The module distributes itself over `self.device_mesh` in `configure_model`, or `parallelize_fn(module, mesh)` does
    it in place, with `parallelize_module` and `fully_shard`. The data is dealt out over "data_parallel" alone.
    """

    def __init__(
        self,
        parallelize_fn: Callable[[nn.Module, DeviceMesh], nn.Module] | None = None,
        data_parallel_size: int | str = "auto",
        tensor_parallel_size: int | str = "auto",
        save_distributed_checkpoint: bool = True,
        process_group_backend: str | None = None,
        timeout: Any = None,
        start_method: str = "popen",
    ) -> None:
        super().__init__(process_group_backend=process_group_backend, timeout=timeout, start_method=start_method)
        for name, size in ((f"{_DATA}_size", data_parallel_size), (f"{_TENSOR}_size", tensor_parallel_size)):
            if size != "auto" and (not isinstance(size, int) or size < 1):
                raise ValueError(f"`{name}` must be 'auto' or at least 1, got {size!r}. Pass a number of processes.")
        self._parallelize = parallelize_fn
        self._sizes = (data_parallel_size, tensor_parallel_size)
        self.saves_shards = save_distributed_checkpoint

    def connect(
        self, accelerator: Accelerator, devices: list[torch.device], num_nodes: int, environment: ClusterEnvironment
    ) -> None:
        super().connect(accelerator, devices, num_nodes, environment)
        data, tensor = self._sizes
        self._shape = (num_nodes if data == "auto" else int(data), len(devices) if tensor == "auto" else int(tensor))
        if self._shape[0] * self._shape[1] != self.world_size:
            raise MisconfigurationException(
                f"`data_parallel_size={data!r}` and `tensor_parallel_size={tensor!r}` make a mesh of "
                f"{self._shape[0]} x {self._shape[1]}, but there are {self.world_size} process(es). "
                "Pass sizes with this product."
            )

    def join(self) -> None:
        super().join()
        self.device_mesh = init_device_mesh(self.device.type, self._shape, mesh_dim_names=(_DATA, _TENSOR))

    @property
    def data_place(self) -> tuple[int, int]:
        return self._shape[0], self.global_rank // self._shape[1]

    def all_reduce(self, data: Any, reduce_op: str = "mean", group: Any = None) -> Any:
        """Reduced over the ranks; in a sum, those that share one part of the data count as one."""
        reduced, alike = super().all_reduce(data, reduce_op, group), self._shape[1]
        if group is not None or reduce_op != "sum" or alike == 1:
            return reduced
        return map_tensors(reduced, lambda tensor: (tensor / alike).to(tensor.dtype))

    def dtypes(self, precision: Precision) -> tuple[torch.dtype, torch.dtype | None]:
        return precision.compute_dtype, None

    def shard(self, module: nn.Module, precision: Precision) -> nn.Module:
        if self._parallelize is not None and self._parallelize(module, self.device_mesh) is not module:
            raise TypeError(
                "`parallelize_fn` returned another module. Distribute the given one in place and return it."
            )
        trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
        if trained and not any(isinstance(p, DTensor) for p in trained.values()):
            raise MisconfigurationException(
                f"No parameter of `{type(module).__name__}` is distributed. Do it in `configure_model`, over "
                "`self.device_mesh`, or pass `parallelize_fn` to the strategy."
            )
        alone = [n for n, p in trained.items() if self._shape[0] > 1 and not _is_shared(p)]
        if alone:
            raise MisconfigurationException(
                f"Nothing shares the gradients of `{alone[0]}` over the {self._shape[0]} parts of the data. "
                'Call `fully_shard(..., mesh=mesh["data_parallel"])` on what holds it.'
            )
        if not any(p.is_meta for p in module.parameters()):
            module.to(self.device)
        return module


def _is_shared(parameter: Any) -> bool:
    return isinstance(parameter, DTensor) and _DATA in (parameter.device_mesh.mesh_dim_names or ())
