"""Logged values made final: over the batches of an epoch, over the ranks, and as plain numbers."""

from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from lt_interfaces import MisconfigurationException
from torch import Tensor

from lt_loops.entry import Entry

Named = list[tuple[Entry, str]]


def reduced(live: Named, engine: Any) -> list[tuple[Entry, str, Tensor]]:
    """The epoch's value of each entry; every rank must call, and each gets the value over all ranks."""
    if engine.world_size > 1:
        return _over_ranks(live, engine)
    return [(entry, suffix, entry.epoch_value()) for entry, suffix in live]


def _over_ranks(live: Named, engine: Any) -> list[tuple[Entry, str, Tensor]]:
    """One packed collective per kind of reduction; a rank that saw no batch adds nothing."""
    mine = {entry.name + suffix: (entry, suffix) for entry, suffix in live}
    order = engine.broadcast(
        [
            (key, entry.reduce.name, _is_wide(entry))
            for key, (entry, _) in mine.items()
            if not (entry.rank_zero_only or entry.is_metric)
        ]
    )
    values: dict[str, Tensor] = {}
    for kind in ("mean", "sum", "min", "max"):
        some = [(key, wide) for key, name, wide in order if name == kind]
        if some:
            packed = _packed(kind, [mine[k][0].parts() if k in mine else (None, 0.0) for k, _ in some], engine)
            narrow = packed.to(torch.get_default_dtype())
            values.update({k: (packed if wide else narrow)[i] for i, (k, wide) in enumerate(some)})
    return [
        (entry, suffix, values[key] if key in values else entry.epoch_value()) for key, (entry, suffix) in mine.items()
    ]


def _is_wide(entry: Entry) -> bool:
    total, _ = entry.parts()
    return total is not None and total.dtype == torch.float64


def _packed(kind: str, parts: list[tuple[Tensor | None, float]], engine: Any) -> Tensor:
    none = torch.tensor({"min": float("inf"), "max": float("-inf")}.get(kind, 0.0))
    totals = [
        (none if total is None else total.detach()).to(engine.device, torch.float64).reshape(()) for total, _ in parts
    ]
    packed = torch.stack(totals)
    if kind != "mean":
        return engine.all_reduce(packed, kind)  # type: ignore[no-any-return]
    weights = torch.tensor([weight for _, weight in parts], device=engine.device, dtype=torch.float64)
    total, weight = engine.all_reduce(torch.stack([packed, weights]), "sum")
    return total / weight  # type: ignore[no-any-return]


def read(values: Iterable[Any]) -> list[float]:
    """Numbers out of tensors and numbers, with one transfer for all tensors of a device."""
    values = list(values)
    tensors = [v.detach() for v in values if isinstance(v, Tensor)]
    if len({t.device for t in tensors}) == 1 and tensors[0].device.type != "cpu":
        kind = torch.float32 if tensors[0].device.type == "mps" else torch.float64
        numbers = iter(torch.stack([t.reshape(()).to(kind) for t in tensors]).tolist())
    else:
        numbers = iter([t.item() for t in tensors])
    return [next(numbers) if isinstance(v, Tensor) else v for v in values]


def batch_size_of(batch: Any) -> int:
    """Size of the first dimension of the first tensor in a batch."""
    first = batch
    while type(first) in (list, tuple) and first:
        first = first[0]
    if isinstance(first, Tensor) and first.ndim:
        return first.shape[0]  # as below, without the walk
    for leaf in torch.utils._pytree.tree_iter(batch):
        if isinstance(leaf, Tensor):
            return leaf.shape[0] if leaf.ndim else 1
        if hasattr(leaf, "shape") and len(leaf.shape):
            return int(leaf.shape[0])
        if is_dataclass(leaf) and not isinstance(leaf, type):
            return batch_size_of([getattr(leaf, field.name) for field in fields(leaf)])
    raise MisconfigurationException(
        f"The size of a batch of type `{type(batch).__name__}` cannot be inferred, and a mean over the epoch needs it. "
        "Pass `self.log(..., batch_size=n)`."
    )


def as_float(value: Any, device: torch.device | None = None) -> Tensor:
    """A tensor of 32 or 64 bit floats, detached."""
    if not isinstance(value, Tensor):
        value = torch.tensor(value)
    tensor: Tensor = value.detach()
    tensor = tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()
    return tensor.reshape(()) if device is None else tensor.reshape(()).to(device)
