"""A checkpoint in a folder: `meta.pt`, an ordinary checkpoint file, and the shards that it lists.

`meta.pt` is written last and replaced whole, so it decides what the folder holds: without it the folder is no
checkpoint, and a shard that it does not list is left over from a save that did not end. The shards are files of
torch's distributed checkpoints. Torch's own index of them, `.metadata`, is a pickle: it is there for other programs,
and never read here. Shards in a store are copied to this machine first, as far as they are used.
"""

import io
import math
import os
import re
import tempfile
import weakref
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import torch
from lt_interfaces import CorruptCheckpoint, UnsafeCheckpoint

from lt_checkpoint.archive import check_archive
from lt_checkpoint.paths import StrPath, below, local, remote, shown
from lt_checkpoint.remote import fetch

META = "meta.pt"
INDEX = "lt_shards"
"""The key of the shards' index in `meta.pt`."""
TORCH_INDEX = ".metadata"

_SHARD = re.compile(r"__[0-9a-f]{16}_\d+_\d+\.distcp")
_CHUNK_BYTES = 1 << 20


class StoredTensor:
    """A tensor of a sharded checkpoint that is still on disk."""

    def __init__(self, shards: "Shards", entry: Mapping[str, Any]) -> None:
        self.shape, self.dtype = torch.Size(entry["size"]), entry["dtype"]
        self._shards, self._chunks = shards, entry["chunks"]

    def read(self, offsets: Sequence[int] | None = None, sizes: Sequence[int] | None = None) -> torch.Tensor:
        """The tensor, or the part of it that begins at `offsets`; only the files it lies in are checked and read."""
        begin = [0] * len(self.shape) if offsets is None else offsets
        result = torch.empty(self.shape if sizes is None else tuple(sizes), dtype=self.dtype)
        missing = result.numel()
        for at, extent, name, start, length in self._chunks:
            low = [max(a, b) for a, b in zip(at, begin, strict=True)]
            high = [min(a + e, b + r) for a, e, b, r in zip(at, extent, begin, result.shape, strict=True)]
            if any(a >= b for a, b in zip(low, high, strict=True)):
                continue
            chunk = self._part(extent, name, start, length)
            piece = chunk[_box(low, high, at)]
            result[_box(low, high, begin)] = piece
            missing -= piece.numel()
        if missing:
            self._shards.refuse(f"parts of a tensor of shape {tuple(self.shape)} are missing")
        return result

    def check(self) -> None:
        """Return if `read` would; one part after the other."""
        found = sum(self._part(*place).numel() for _, *place in self._chunks)
        if found < math.prod(self.shape):
            self._shards.refuse(f"parts of a tensor of shape {tuple(self.shape)} are missing")

    def _part(self, extent: Sequence[int], name: str, start: int, length: int) -> torch.Tensor:
        part = self._shards.read(name, start, length)
        if tuple(part.shape) != tuple(extent) or part.dtype != self.dtype:
            self._shards.refuse(f"a part in `{name}` is not what `{META}` says")
        return part

    def __repr__(self) -> str:
        return f"StoredTensor(shape={tuple(self.shape)}, dtype={self.dtype})"


class Shards:
    """The shards of one folder, each file checked in full before anything of it is used."""

    def __init__(self, folder: StrPath, meta: dict[Any, Any]) -> None:
        """Take the index out of what `meta.pt` holds."""
        self.folder = folder
        self._starts: dict[str, int] = {}  # of those that were checked
        self._copies = tempfile.TemporaryFile() if remote(folder) else None  # noqa: SIM115
        if self._copies is not None:
            weakref.finalize(self, self._copies.close)
        if INDEX not in meta:
            raise UnsafeCheckpoint(
                f"`{shown(folder)}` is a sharded checkpoint of another program, and its index is a pickle, which may "
                "run code. If you trust it, run `python -m torch.distributed.checkpoint.format_utils dcp_to_torch "
                f"{shown(folder)} FILE` and load FILE."
            )
        index = meta.pop(INDEX)
        try:
            self.files: dict[str, tuple[int, int]] = {
                name: (entry["bytes"], entry["crc32"]) for name, entry in index["files"].items()
            }
            self.tensors = [(tuple(entry["path"]), StoredTensor(self, entry)) for entry in index["tensors"]]
            stored = sum(size for size, _ in self.files.values())
            largest = max((math.prod(t.shape) * t.dtype.itemsize for _, t in self.tensors), default=0)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            self.refuse(f"the index in `{META}` is malformed: {error!r}")
        if not all(is_shard(name) for name in self.files) or largest > stored:
            self.refuse(f"the index in `{META}` names what cannot be")

    def check(self, name: str) -> None:
        """Compare a file's size and checksum with the index, once."""
        if name in self._starts:
            return
        if name not in self.files:
            self.refuse(f"`{META}` does not list {name!r}")
        start, (size, wanted) = self._arrived(name), self.files[name]
        with self._at(name, start) as file:
            found, checksum = _sums(file)
        if found != size:
            self.refuse(f"the file `{name}` should have {size:,} bytes and has {found:,}")
        if checksum != wanted:
            self.refuse(f"the file `{name}` does not match its checksum")
        self._starts[name] = start

    def _arrived(self, name: str) -> int:
        """Where a file that is there begins: at zero, or behind the other copies from a store."""
        start, place = 0, below(self.folder, name)
        try:
            if self._copies is not None:
                start = self._copies.seek(0, os.SEEK_END)
                fetch(str(place), self._copies)
            elif not local(place).is_file():
                raise FileNotFoundError
        except FileNotFoundError:
            self.refuse(f"the file `{name}` is missing")
        return start

    @contextmanager
    def _at(self, name: str, start: int) -> Iterator[BinaryIO]:
        """A file, or the copy of it that everything is in, from there on."""
        with nullcontext(self._copies) if self._copies else local(below(self.folder, name)).open("rb") as file:
            file.seek(start)
            yield file

    def read(self, name: str, start: int, length: int) -> torch.Tensor:
        """One piece of one file."""
        self.check(name)
        with self._at(name, self._starts[name] + start) as file:
            piece = io.BytesIO(file.read(length))
        # the whole file's checksum has been compared
        check_archive(piece, shown(below(self.folder, name)), checksums=False)
        tensor = torch.load(piece, map_location="cpu", weights_only=True)
        return tensor if isinstance(tensor, torch.Tensor) else self.refuse(f"a part in `{name}` is no tensor")

    def refuse(self, fact: str) -> NoReturn:
        raise CorruptCheckpoint(f"`{shown(self.folder)}` cannot be used: {fact}. Use another checkpoint.")

    def put_into(self, tree: dict[Any, Any], *, read: bool) -> dict[Any, Any]:
        """The rest of the state with the tensors in their places, read or still on disk."""
        for path, tensor in self.tensors:
            place: Any = tree
            for key in path[:-1]:
                place = place[key]
            place[path[-1]] = tensor.read() if read else tensor
        return tree


def is_shard(name: str) -> bool:
    """True for the file names that `sharded.save` gives."""
    return bool(_SHARD.fullmatch(name))


def measured(path: Path) -> tuple[int, int]:
    """Size and checksum of a file."""
    with path.open("rb") as file:
        return _sums(file)


def _sums(file: BinaryIO) -> tuple[int, int]:
    size = checksum = 0
    while data := file.read(_CHUNK_BYTES):
        size += len(data)
        checksum = zlib.crc32(data, checksum)
    return size, checksum


def _box(low: Sequence[int], high: Sequence[int], origin: Sequence[int]) -> tuple[slice, ...]:
    return tuple(slice(a - o, b - o) for a, b, o in zip(low, high, origin, strict=True))
