"""What a checkpoint may hold: numbers, strings, containers of them, tensors; and how other things become that.

The safe reader admits just this, so a file written from plain values can always be read back.
"""

import sys
from argparse import Namespace
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import fields, is_dataclass
from datetime import timedelta
from enum import Enum
from pathlib import PurePath
from types import SimpleNamespace
from typing import Any

import torch

_ATOMS = frozenset({type(None), bool, float, complex, str, torch.dtype, torch.device, torch.Size})
_DEVICES = frozenset({"cpu", "cuda", "mps", "xpu"})
_LAYOUTS = (torch.strided, torch.sparse_coo, torch.sparse_csr, torch.sparse_csc, torch.sparse_bsr, torch.sparse_bsc)
_BECOMES: tuple[tuple[type, Callable[[Any], Any]], ...] = (
    (float, float),
    (str, str.__str__),
    (PurePath, str),
    (timedelta, timedelta.total_seconds),
)
_MAX_DEPTH = 100
_MAX_INT_BITS = 2039  # the longest integer that the safe reader takes
_REMEDY = "Leave it out, or keep numbers, strings, containers of them or tensors in its place."


def plain(value: Any, where: str = "value") -> Any:
    """The same as numbers, strings, containers and tensors; TypeError names the key and type of what cannot be.

    Kept: None, bool, int, float, complex, str, bytes, list, tuple, set, dict, OrderedDict, Counter, torch's dtype,
    device and Size. Changed: Path -> str, Enum -> its value, timedelta -> seconds, Namespace, dataclass and any
    mapping -> dict, named tuple -> tuple, other sequences -> list, numpy scalar -> number, numpy array -> tensor,
    Parameter and other tensor classes -> detached tensor on the same memory. Shared objects stay shared.
    """
    return Conversion(where).convert(value)


class Conversion:
    """One walk over a value; `tensors` are those it met, `where` is the value's name in messages."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.tensors: list[torch.Tensor] = []
        self._path: list[Any] = []
        self._open: set[int] = set()
        self._done: dict[int, tuple[Any, Any]] = {}  # with the original, so that no other object gets its id

    @property
    def tensor_bytes(self) -> int:
        """What the tensors take in a file; shared memory counts once."""
        storages = [t.untyped_storage() for t in self.tensors if t.layout is torch.strided]
        return sum({s.data_ptr(): s.nbytes() for s in storages}.values())

    def convert(self, value: Any) -> Any:
        """The plain form of one value."""
        kind = type(value)
        if kind in _ATOMS or (kind is int and value.bit_length() <= _MAX_INT_BITS) or (kind is bytes and value):
            return value
        key = id(value)
        if key in self._done:
            return self._done[key][1]
        if key in self._open:
            self._refuse(value, "contains itself")
        if len(self._path) > _MAX_DEPTH:
            self._refuse(value, f"is nested deeper than {_MAX_DEPTH} levels")
        self._open.add(key)
        result = self._scalar(value)
        if result is NotImplemented:
            result = self._container(value)
        self._open.discard(key)
        self._done[key] = (value, result)
        return result

    def _scalar(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return self._tensor(value)
        if isinstance(value, Enum):
            return self.convert(value.value)
        numpy = sys.modules.get("numpy")
        if numpy is not None and isinstance(value, numpy.ndarray | numpy.generic):
            return self._from_numpy(numpy, value)
        if isinstance(value, bytes | bytearray | memoryview):
            return bytes(value) or self._refuse(value, "is empty bytes, which the safe reader cannot read")
        if isinstance(value, int):
            if value.bit_length() > _MAX_INT_BITS:
                self._refuse(value, "is too long an integer, over 600 digits")
            return int(value)
        for base, become in _BECOMES:
            if isinstance(value, base):
                return become(value)
        return NotImplemented

    def _container(self, value: Any) -> Any:
        if isinstance(value, OrderedDict):
            ordered = OrderedDict(self._items(value.items()))
            if hasattr(value, "_metadata"):  # a module's state_dict keeps its versions there
                vars(ordered)["_metadata"] = self.convert(value._metadata)
            return ordered
        if isinstance(value, Counter):
            return Counter(self._items(value.items()))
        if isinstance(value, Mapping):
            return self._items(value.items())
        if isinstance(value, Namespace | SimpleNamespace):
            return self._items(vars(value).items())
        if is_dataclass(value) and not isinstance(value, type):
            return self._items((f.name, getattr(value, f.name)) for f in fields(value))
        if isinstance(value, tuple):
            return tuple(self._elements(value))
        if isinstance(value, Sequence):
            return self._elements(value)
        if isinstance(value, Set):
            members = {self._hashable(member) for member in self._elements(value)}
            return members if len(members) == len(value) else self._refuse(value, "has members that become the same")
        return self._refuse(value)

    def _items(self, items: Iterable[tuple[Any, Any]]) -> dict[Any, Any]:
        result: dict[Any, Any] = {}
        for key, value in items:
            self._path.append(key)
            plain_key = self._hashable(self.convert(key))
            if plain_key in result:
                self._refuse(key, "becomes the same plain key as another entry")
            result[plain_key] = self.convert(value)
            self._path.pop()
        return result

    def _elements(self, elements: Iterable[Any]) -> list[Any]:
        result = []
        for i, element in enumerate(elements):
            self._path.append(i)
            result.append(self.convert(element))
            self._path.pop()
        return result

    def _hashable(self, key: Any) -> Any:
        try:
            hash(key)
        except TypeError:
            return self._refuse(key, "is a key or set member without a plain hashable form")
        return key

    def _tensor(self, tensor: torch.Tensor) -> torch.Tensor:
        if hasattr(tensor, "__tensor_flatten__"):
            self._refuse(tensor, "is a sharded or wrapped tensor, so gather it first, e.g. with `full_tensor()`")
        if torch.nn.parameter.is_lazy(tensor):
            self._refuse(tensor, "has no shape yet, so run the module once first")
        bare = tensor.detach()
        if type(bare) is not torch.Tensor:
            bare = bare.as_subclass(torch.Tensor)
        if bare.is_meta or bare.is_quantized or bare.is_nested or bare.layout not in _LAYOUTS:
            self._refuse(tensor, f"is a {'meta' if bare.is_meta else 'quantized, nested or opaque'} tensor")
        if bare.device.type not in _DEVICES:
            bare = bare.cpu()
        self.tensors.append(bare)
        return bare

    def _from_numpy(self, numpy: Any, value: Any) -> Any:
        if isinstance(value, numpy.generic):
            item = value.item()
            return self._refuse(value) if isinstance(item, numpy.generic) else self.convert(item)
        if value.dtype.kind not in "biufc":
            return self.convert(value.tolist())
        try:
            tensor = torch.from_numpy(numpy.array(value, dtype=value.dtype.newbyteorder("=")))
        except TypeError:
            return self._refuse(value, f"is an array of `{value.dtype}`, which torch does not know")
        self.tensors.append(tensor)
        return tensor

    def _refuse(self, value: Any, fact: str = "cannot be kept in a checkpoint") -> Any:
        name = self.where + "".join(f"[{key!r:.60}]" for key in self._path)
        kind = type(value)
        kind_name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        raise TypeError(f"`{name}`, a `{kind_name}`, {fact}. {_REMEDY}")
