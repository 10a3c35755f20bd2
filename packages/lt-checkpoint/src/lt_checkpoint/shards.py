"""A checkpoint in a folder: `meta.pt`, an ordinary checkpoint file, and the shards that it lists.

`meta.pt` is written last and replaced whole, so it decides what the folder holds: without it the folder is no
checkpoint, and a shard that it does not list is left over from a save that did not end. The shards are files of
torch's distributed checkpoints. Torch's own index of them, `.metadata`, is a pickle: it is there for other programs,
and never read here.
"""

import io
import math
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lt_interfaces import CorruptCheckpoint, UnsafeCheckpoint

from lt_checkpoint.archive import check_archive

META = "meta.pt"
INDEX = "lt_shards"
"""The key of the shards' index in `meta.pt`."""

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

    def __init__(self, folder: Path, meta: dict[Any, Any]) -> None:
        """Take the index out of what `meta.pt` holds."""
        self.folder = folder
        self._checked: set[str] = set()
        if INDEX not in meta:
            raise UnsafeCheckpoint(
                f"`{folder}` is a sharded checkpoint that another program wrote, and its index is a pickle, which may "
                "run code. If you trust it, run `python -m torch.distributed.checkpoint.format_utils dcp_to_torch "
                f"{folder} FILE` and load FILE."
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
        if name in self._checked:
            return
        if name not in self.files:
            self.refuse(f"`{META}` does not list {name!r}")
        size, wanted = self.files[name]
        if not (self.folder / name).is_file():
            self.refuse(f"the file `{name}` is missing")
        found, checksum = measured(self.folder / name)
        if found != size:
            self.refuse(f"the file `{name}` should have {size:,} bytes and has {found:,}")
        if checksum != wanted:
            self.refuse(f"the file `{name}` does not match its checksum")
        self._checked.add(name)

    def read(self, name: str, start: int, length: int) -> torch.Tensor:
        """One piece of one file."""
        self.check(name)
        with (self.folder / name).open("rb") as file:
            file.seek(start)
            piece = io.BytesIO(file.read(length))
        check_archive(piece, str(self.folder / name), checksums=False)  # the whole file's has been compared
        tensor = torch.load(piece, map_location="cpu", weights_only=True)
        return tensor if isinstance(tensor, torch.Tensor) else self.refuse(f"a part in `{name}` is no tensor")

    def refuse(self, fact: str) -> Any:
        raise CorruptCheckpoint(f"`{self.folder}` cannot be used: {fact}. Use another checkpoint.")

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


def left_over(folder: Path, listed: Mapping[str, Any]) -> Iterator[Path]:
    """Shards of saves that did not end, or that a newer one has replaced."""
    return (entry for entry in folder.iterdir() if is_shard(entry.name) and entry.name not in listed)


def measured(path: Path) -> tuple[int, int]:
    """Size and checksum of a file."""
    size = checksum = 0
    with path.open("rb") as file:
        while data := file.read(_CHUNK_BYTES):
            size += len(data)
            checksum = zlib.crc32(data, checksum)
    return size, checksum


def _box(low: Sequence[int], high: Sequence[int], origin: Sequence[int]) -> tuple[slice, ...]:
    return tuple(slice(a - o, b - o) for a, b, o in zip(low, high, origin, strict=True))
