"""Exchange between processes of numbers, tensors and other objects in any nesting."""

import pickle
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils._pytree import tree_map

_OPERATIONS = {"sum": "SUM", "mean": "SUM", "avg": "SUM", "min": "MIN", "max": "MAX", "product": "PRODUCT"}


def check_operation(reduce_op: str) -> str:
    """The operation's name, if it is one."""
    name = str(getattr(reduce_op, "name", reduce_op)).lower()  # torch's operations have names
    if name not in _OPERATIONS:
        raise ValueError(
            f"`reduce_op` must be 'mean', 'sum', 'product', 'min' or 'max', got {reduce_op!r}. Pass one of these."
        )
    return name


def alone(data: Any, device: torch.device) -> Any:
    """Numbers as tensors, as they come back from several ranks; everything else as it is."""
    if isinstance(data, Tensor):
        return data
    return tree_map(lambda x: _on_device(x, device) if isinstance(x, (int, float)) else x, data)


def all_reduce(data: Any, reduce_op: str, device: torch.device, group: Any = None) -> Any:
    """Each number and tensor, reduced over the ranks; everything else as it is on this rank."""
    name = check_operation(reduce_op)

    def reduce(value: Any) -> Any:
        if not isinstance(value, (Tensor, int, float)):
            return value
        tensor = _on_device(value, device).clone()
        if name in ("mean", "avg") and not (tensor.is_floating_point() or tensor.is_complex()):
            tensor = tensor.to(torch.get_default_dtype())
        dist.all_reduce(tensor, getattr(dist.ReduceOp, _OPERATIONS[name]), group=group)
        if name in ("mean", "avg"):
            tensor /= dist.get_world_size(group)
        return tensor.to(value.device) if isinstance(value, Tensor) else tensor

    return tree_map(reduce, data)


def all_gather(data: Any, device: torch.device, group: Any = None, sync_grads: bool = False) -> Any:
    """Each number and tensor with a new first dimension, one entry per rank; other objects as lists."""

    def gather(value: Any) -> Any:
        if not isinstance(value, (Tensor, int, float)):
            return _gather_objects(value, device, group)
        tensor = _on_device(value, device).contiguous()
        stacked: Tensor = _Gather.apply(tensor if sync_grads else tensor.detach(), group)  # type: ignore[no-untyped-call]
        return stacked.to(value.device) if isinstance(value, Tensor) else stacked

    return tree_map(gather, data)


class _Gather(torch.autograd.Function):
    """All ranks' tensors, stacked; the gradient is summed over the ranks."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, group: Any) -> Tensor:
        ctx.group = group
        parts = [torch.empty_like(tensor) for _ in range(dist.get_world_size(group))]
        dist.all_gather(parts, tensor, group=group)
        return torch.stack(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total, group=ctx.group)
        return total[dist.get_rank(ctx.group)], None


def broadcast(obj: Any, src: int, device: torch.device) -> Any:
    """The object of rank `src`."""
    mine = dist.get_rank() == src
    data = _packed(obj, device) if mine else torch.empty(0, dtype=torch.uint8, device=device)
    size = torch.tensor(len(data), device=device)
    dist.broadcast(size, src)
    data = data if mine else torch.empty(int(size), dtype=torch.uint8, device=device)
    dist.broadcast(data, src)
    return obj if mine else _unpacked(data)


def _gather_objects(obj: Any, device: torch.device, group: Any) -> list[Any]:
    data = _packed(obj, device)
    sizes = [torch.tensor(0, device=device) for _ in range(dist.get_world_size(group))]
    dist.all_gather(sizes, torch.tensor(len(data), device=device), group=group)
    longest = max(map(int, sizes))
    parts = [torch.empty(longest, dtype=torch.uint8, device=device) for _ in sizes]
    dist.all_gather(parts, torch.nn.functional.pad(data, (0, longest - len(data))), group=group)
    return [_unpacked(part[: int(size)]) for part, size in zip(parts, sizes, strict=True)]


def _packed(obj: Any, device: torch.device) -> Tensor:
    """The object as bytes; torch's own exchange of objects needs numpy, which is no dependency here."""
    return torch.frombuffer(bytearray(pickle.dumps(obj)), dtype=torch.uint8).to(device)


def _unpacked(data: Tensor) -> Any:
    return pickle.loads(bytes(data.tolist()))  # noqa: S301  # from another process of this job


def _on_device(value: Tensor | int | float, device: torch.device) -> Tensor:
    """Where the group can exchange it: CPU tensors stay, since every group of ours can."""
    if isinstance(value, Tensor):
        return value
    return torch.tensor(int(value) if isinstance(value, bool) else value, device=device)
