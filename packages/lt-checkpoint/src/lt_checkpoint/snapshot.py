"""A state as it is now, in memory of the CPU, so that it can be written while training changes the original."""

from collections.abc import Mapping
from typing import Any

import torch

from lt_checkpoint.values import Conversion

_Place = tuple[torch.device, int, int]


class Memory:
    """CPU memory for one snapshot at a time; the next one uses again what fits, so it is not paid for twice."""

    def __init__(self) -> None:
        self._free: dict[tuple[int, bool], list[torch.UntypedStorage]] = {}
        self._used: dict[_Place, torch.UntypedStorage] = {}
        self._devices: set[torch.device] = set()

    def snapshot(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """The plain form of a state, which shares nothing with it; what the last call returned is overwritten."""
        free: dict[tuple[int, bool], list[torch.UntypedStorage]] = {}
        for (device, _, size), storage in self._used.items():
            free.setdefault((size, device.type == "cuda"), []).append(storage)
        self._free, self._used, self._devices = free, {}, set()
        values: dict[str, Any] = _Copying(self).convert(state)
        for device in self._devices:
            torch.cuda.current_stream(device).synchronize()
        self._free = {}
        return values

    def copy(self, tensor: torch.Tensor) -> torch.Tensor:
        """The tensor on the CPU; those that share memory do so there, too."""
        source = tensor.untyped_storage() if tensor.layout is torch.strided else None
        if source is None or source.nbytes() == 0:
            return tensor.detach().to("cpu", copy=True)
        result = torch.empty(0, dtype=tensor.dtype)
        result.set_(self._copied(source), tensor.storage_offset(), tensor.size(), tensor.stride())
        result = result.conj() if tensor.is_conj() else result
        return torch._neg_view(result) if tensor.is_neg() else result

    def _copied(self, source: torch.UntypedStorage) -> torch.UntypedStorage:
        place = (source.device, source.data_ptr(), source.nbytes())
        if place not in self._used:
            is_cuda = source.device.type == "cuda"
            free = self._free.get((source.nbytes(), is_cuda))
            memory = free.pop() if free else self._new(source.nbytes(), is_cuda)
            as_bytes = torch.empty(0, dtype=torch.uint8).set_(memory)
            as_bytes.copy_(torch.empty(0, dtype=torch.uint8, device=source.device).set_(source), non_blocking=is_cuda)
            if is_cuda:
                self._devices.add(source.device)
            self._used[place] = memory
        return self._used[place]

    def _new(self, size: int, is_cuda: bool) -> torch.UntypedStorage:
        return torch.empty(size, dtype=torch.uint8, pin_memory=is_cuda).untyped_storage()


class _Copying(Conversion):
    """A walk over a state that copies the tensors it meets."""

    def __init__(self, memory: Memory) -> None:
        super().__init__("checkpoint")
        self._memory = memory

    def _tensor(self, tensor: torch.Tensor) -> torch.Tensor:
        return self._memory.copy(super()._tensor(tensor))
