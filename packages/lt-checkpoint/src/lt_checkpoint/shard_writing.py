"""One rank's part in the making of a sharded checkpoint: its shard, and on rank zero the marker, which comes last."""

import pickle
import secrets
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.checkpoint.filesystem import _StorageInfo
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    StorageMeta,
    TensorProperties,
    TensorStorageMetadata,
)
from torch.distributed.tensor import DTensor

from lt_checkpoint.agreement import Alone, InStep
from lt_checkpoint.files import check_folder, sweep
from lt_checkpoint.paths import StrPath, below, local, remote, shown
from lt_checkpoint.reading import is_file
from lt_checkpoint.saving import Sink, save, write_archive
from lt_checkpoint.shards import INDEX, META, TORCH_INDEX
from lt_checkpoint.writing import atomic_write, make_folder

Keys = tuple[Any, ...]


class ShardedSave:
    """A save under way: `begin` while all ranks stand still, then `write`, which may be in a thread of its own."""

    def __init__(self, folder: StrPath, rest: Any, tensors: Mapping[Keys, DTensor], group: Any) -> None:
        self.folder = folder
        self._rest, self._kinds = rest, {_name(path): (path, t.dtype, list(t.shape)) for path, t in tensors.items()}
        if len(self._kinds) < len(tensors):
            raise ValueError("Two tensors of the state have the same name, their keys joined by dots. Rename a key.")
        found = ((name, _own_part(name, tensors[path])) for name, (path, *_) in self._kinds.items())
        self._parts = [(name, *part) for name, part in found if part is not None]
        self._ranks = InStep(group) if dist.is_initialized() and dist.get_world_size(group) > 1 else Alone()

    def begin(self, copied: Callable[[Any], Any]) -> None:
        """Fail everywhere if the save cannot be done somewhere; `copied` makes plain values of what is written."""
        self._ranks.together(partial(self._prepare, copied))

    def leave_step(self) -> None:
        """From now on this rank may be elsewhere than the others; every rank must call."""
        self._ranks = self._ranks.aside()

    def write(self) -> None:
        """A complete folder, once all ranks have done it."""
        try:
            reports = self._ranks.together(self._write_shard)
            self._ranks.together(partial(self._commit, reports))
        except Exception:
            if self._ranks.rank == 0:
                with suppress(Exception):  # it is the first error that counts
                    sweep(self.folder)
            raise
        finally:
            self._ranks.close()

    def _prepare(self, copied: Callable[[Any], Any]) -> None:
        tensors = [tensor for _, _, tensor in self._parts]
        content = copied({**(self._rest if self._ranks.rank == 0 else {}), INDEX: tensors})
        tensors, self._rest = content.pop(INDEX), content
        self._parts = [(name, offsets, t) for (name, offsets, _), t in zip(self._parts, tensors, strict=True)]

    def _write_shard(self) -> Any:
        """Where the parts of this rank lie: the file's size and checksum, and the places in it."""
        if self._ranks.rank == 0:
            _make(self.folder)
        if not self._parts:
            return {}, []
        name, places = f"__{secrets.token_hex(8)}_{self._ranks.rank}_0.distcp", []
        size = sum(tensor.nbytes for _, _, tensor in self._parts)
        path = below(self.folder, name)
        with atomic_write(path, needs_bytes=size) as file:
            sink = _Measuring(file)
            for tensor_name, offsets, tensor in self._parts:
                start = sink.bytes
                whole = tensor.untyped_storage().nbytes() == tensor.nbytes
                write_archive(tensor.cpu() if whole else tensor.clone().cpu(), sink, path)
                places.append([tensor_name, offsets, list(tensor.shape), name, start, sink.bytes - start])
        return {name: {"bytes": sink.bytes, "crc32": sink.checksum}}, places

    def _commit(self, reports: list[Any]) -> None:
        """The marker, when all is there that it names."""
        if self._ranks.rank:
            return
        files = {name: entry for found, _ in reports for name, entry in found.items()}
        absent = [name for name in files if not is_file(below(self.folder, name))]
        if absent:
            raise FileNotFoundError(
                f"Rank 0 does not see `{absent[0]}` in `{shown(self.folder)}`, which another rank wrote. Save to a "
                "folder that all machines share."
            )
        chunks: dict[str, list[Any]] = {name: [] for name in self._kinds}
        for name, *place in (place for _, places in reports for place in places):
            chunks[name].append(place)
        tensors = [
            {"path": list(path), "dtype": dtype, "size": size, "chunks": chunks[name]}
            for name, (path, dtype, size) in self._kinds.items()
        ]
        save({**self._rest, INDEX: {"files": files, "tensors": tensors}}, below(self.folder, META))
        if chunks:
            self._write_torch_index(chunks)
        sweep(self.folder)

    def _write_torch_index(self, chunks: Mapping[str, list[Any]]) -> None:
        """For other programs; never read here."""
        metadata = Metadata({}, storage_data={}, storage_meta=StorageMeta(), version="1.0.0")
        for name, (_, dtype, size) in self._kinds.items():
            parts = [ChunkStorageMetadata(torch.Size(o), torch.Size(s)) for o, s, *_ in chunks[name]]
            kind = TensorStorageMetadata(TensorProperties(dtype), torch.Size(size), parts)
            metadata.state_dict_metadata[name] = kind
            for i, (offsets, _, *where) in enumerate(chunks[name]):
                metadata.storage_data[MetadataIndex(name, offsets, i)] = _StorageInfo(*where)
        with atomic_write(below(self.folder, TORCH_INDEX)) as file:
            pickle.dump(metadata, file)


class _Measuring(Sink):
    """Counts and sums what it is given."""

    bytes = checksum = 0

    def write(self, data: Any) -> int:
        self.bytes += len(data)
        self.checksum = zlib.crc32(data, self.checksum)
        return super().write(data)


def _name(path: Keys) -> str:
    return ".".join(map(str, path))


def _own_part(name: str, tensor: DTensor) -> tuple[list[int], torch.Tensor] | None:
    """What of a tensor this rank writes, and where that begins; of several ranks with the same, the name picks one."""
    mesh, number = tensor.device_mesh, zlib.crc32(name.encode())
    place = mesh.get_coordinate()
    alike = [i for i, placement in enumerate(tensor.placements) if placement.is_replicate()]
    if place is None or any(place[i] != number % mesh.size(i) for i in alike):
        return None
    [chunk] = tensor.__create_chunk_list__()  # type: ignore[no-untyped-call]
    part = tensor.to_local().detach()
    return (list(chunk.offsets), part) if part.numel() else None


def _make(folder: StrPath) -> None:
    if is_file(folder):
        raise NotADirectoryError(
            f"`{shown(folder)}` is a file, and a sharded checkpoint is a folder. Choose another name."
        )
    check_folder(folder)
    if remote(folder) is None:
        make_folder(local(folder))
