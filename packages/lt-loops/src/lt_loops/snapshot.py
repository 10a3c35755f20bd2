"""The state of live objects, taken and put back: what a trial has changed is as it was."""

import random
import sys
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader, Dataset, Sampler

from lt_loops import rng
from lt_loops.entry import is_metric
from lt_loops.sources import is_combined

MOST = 1000
"""Containers of data with more entries are the data itself, which is not copied."""


class Snapshot:
    """Weights, buffers, gradients, attributes, optimizer state and generators as they are now.

    Follows modules, metrics, optimizers, schedulers, loaders, samplers, datasets and data modules into their
    attributes and into containers there; other objects and the tensors of datasets are left alone. Tensors are kept in
    CPU memory and put back in place.
    """

    def __init__(self, *objects: Any) -> None:
        self._undo: list[Callable[[], Any]] = []
        self._seen: dict[int, Any] = {}
        self._rng = rng.capture()
        for obj in objects:
            self.add(obj)

    def add(self, obj: Any) -> None:
        """Keep the state of one more object."""
        if not isinstance(obj, (list, tuple, dict)) and not _kind(obj) and hasattr(obj, "__dict__"):
            self._attributes(obj, data=True)
        else:
            self._visit(obj, data=False)

    def restore(self) -> None:
        """Put everything back, the generators of Python, torch, CUDA and numpy included."""
        for undo in self._undo:
            undo()
        rng.restore(self._rng)

    def _visit(self, value: Any, data: bool) -> None:
        if id(value) in self._seen or value is None or isinstance(value, (int, float, str, bytes, type)):
            return
        if isinstance(value, Tensor):
            if not data:
                self._tensor(value)
        elif isinstance(value, (dict, list, set, deque, tuple)):
            self._container(value, data)
        elif restore := _generator(value):
            self._seen[id(value)] = value
            self._undo.append(restore)
        elif kind := _kind(value):
            self._attributes(value, data=kind == "data")

    def _container(self, value: Any, data: bool) -> None:
        if data and len(value) > MOST:
            return
        self._seen[id(value)] = value
        entries = list(value.items() if isinstance(value, dict) else value)
        if not isinstance(value, tuple):
            self._undo.append(partial(_refill, value, entries))
        for entry in value.values() if isinstance(value, dict) else entries:
            self._visit(entry, data)

    def _attributes(self, obj: Any, data: bool) -> None:
        if id(obj) in self._seen:
            return
        self._seen[id(obj)] = obj
        if isinstance(obj, nn.Module):
            for tensor in (*obj.parameters(), *obj.buffers()):
                self._visit(tensor, data=False)
        if isinstance(obj, torch.jit.ScriptModule) or not hasattr(obj, "__dict__"):
            return
        kind, kept = type(obj), dict(vars(obj))

        def undo() -> None:
            now = vars(obj)
            now.clear()
            now.update(kept)
            if type(obj) is not kind:
                obj.__class__ = kind

        self._undo.append(undo)
        for value in kept.values():
            self._visit(value, data)

    def _tensor(self, tensor: Tensor) -> None:
        self._seen[id(tensor)] = tensor
        if not tensor.is_leaf:  # the product of some step, which nothing will change
            return
        if isinstance(tensor, (UninitializedBuffer, UninitializedParameter)):
            self._undo.append(partial(_uninitialize, tensor, type(tensor)))
            return
        gradient, requires = tensor.grad, tensor.requires_grad
        content = None if tensor.is_meta or _overlaps(tensor) else local_part(tensor).detach().to("cpu", copy=True)
        device = tensor.device
        self._visit(gradient, data=False)

        def undo() -> None:
            if content is not None:
                _put_back(tensor, content, device)
            tensor.requires_grad_(requires)
            tensor.grad = gradient

        self._undo.append(undo)


def _kind(value: Any) -> str:
    """Whether an object is followed: as a "model" with all its tensors, or as "data" without them."""
    if isinstance(value, (nn.Module, Optimizer, LRScheduler)) or is_metric(value):
        return "model"
    return "data" if isinstance(value, (DataLoader, Dataset, Sampler)) or is_combined(value) else ""


def _generator(value: Any) -> Callable[[], Any] | None:
    """What puts a generator's state back; None for other objects."""
    if isinstance(value, torch.Generator):
        return partial(value.set_state, value.get_state())
    if isinstance(value, random.Random):
        return partial(value.setstate, value.getstate())
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, (numpy.random.Generator, numpy.random.RandomState)):
        bits = value.bit_generator if hasattr(value, "bit_generator") else value._bit_generator
        return partial(setattr, bits, "state", bits.state)
    return None


def _refill(container: Any, entries: Iterable[Any]) -> None:
    container.clear()
    container.extend(entries) if isinstance(container, (list, deque)) else container.update(entries)


def local_part(tensor: Any) -> Tensor:
    """This rank's part of a tensor."""
    part: Tensor = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return part


def _overlaps(tensor: Tensor) -> bool:
    """True for expanded tensors, which cannot be written into."""
    return tensor.layout == torch.strided and any(
        stride == 0 and size > 1
        for stride, size in zip(local_part(tensor).stride(), local_part(tensor).shape, strict=True)
    )


def _put_back(tensor: Tensor, content: Tensor, device: torch.device) -> None:
    with torch.no_grad():
        now = local_part(tensor).detach()
        if (now.device, now.dtype, now.shape) == (device, content.dtype, content.shape):
            now.copy_(content)
        else:
            tensor.data = content.to(device)


def _uninitialize(tensor: Any, kind: type) -> None:
    if type(tensor) is not kind:
        tensor.data = torch.empty(0, device=tensor.device, dtype=tensor.dtype)
        tensor.grad = None
        tensor.__class__ = kind
