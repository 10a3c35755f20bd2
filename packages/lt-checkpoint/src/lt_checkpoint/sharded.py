"""States with sharded tensors: each rank writes and reads its own part. Importing this brings in torch's DCP.

    from lt_checkpoint import sharded

    sharded.save({"model": model.state_dict(), "step": 3}, "checkpoints/step=3")  # every rank calls
    state = sharded.load("checkpoints/step=3")
    weights = {n: sharded.distributed(v, own[n]) for n, v in state["model"].items()}

`lt_checkpoint.load` reads such a folder in full, on any number of ranks.
"""

import copy
import dataclasses
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemWriter
from torch.distributed.checkpoint.state_dict_saver import save as save_tensors
from torch.distributed.tensor import DTensor

try:
    import numpy  # noqa: F401  # torch's exchange of plans between ranks cannot do without
except ImportError as error:
    raise ImportError(
        "Sharded checkpoints need numpy, with which torch exchanges their plan, and it is not installed. "
        'Run `pip install "lt-checkpoint[sharded]"`.'
    ) from error

from lt_checkpoint.files import check_folder
from lt_checkpoint.paths import StrPath, local
from lt_checkpoint.reading import open_shards
from lt_checkpoint.saving import save as save_file
from lt_checkpoint.shards import INDEX, META, StoredTensor, left_over, measured
from lt_checkpoint.writing import make_folder


def save(state: Mapping[str, Any], folder: StrPath, *, group: Any = None) -> None:
    """A complete, durable folder, or an exception and what it held before untouched; every rank must call.

    Each rank writes its part of the `DTensor`s in dicts, lists and tuples. All else is written once, from rank zero, in
    its plain form. The folder may hold an older checkpoint, which is replaced, and nothing else.
    """
    target = local(folder)
    found: dict[tuple[Any, ...], DTensor] = {}
    rest = _without(state, (), found)
    names = {".".join(map(str, path)): path for path in found}
    if len(names) < len(found):
        raise ValueError("Two tensors of the state have the same name, their keys joined by dots. Rename a key.")
    writer = _Writer(target)
    _on_rank_zero(lambda: _prepare(target), group)
    try:
        if found:
            save_tensors({n: found[path] for n, path in names.items()}, storage_writer=writer, process_group=group)
        files = _all_files(writer, group)
        _on_rank_zero(lambda: _commit(target, rest, writer, files, names), group)
    except CheckpointException as error:  # no subclass of Exception, and raised on all ranks
        _on_rank_zero(lambda: _sweep(target), group)
        rank, (cause, _) = min(error.failures.items())
        raise RuntimeError(f"Rank {rank} could not write its part of `{target}`: {cause!r}") from cause


def load(folder: StrPath) -> dict[str, Any]:
    """The state, its sharded tensors still on disk: each a `StoredTensor`, to be read whole or in part."""
    meta, shards = open_shards(local(folder))
    return shards.put_into(meta, read=False)


def distributed(value: Any, like: DTensor) -> DTensor:
    """A full or stored tensor, spread over the ranks as `like` is; takes this rank's part, exchanges nothing."""
    if tuple(value.shape) != tuple(like.shape):
        raise ValueError(
            f"A tensor of shape {tuple(value.shape)} cannot take the place of one of shape {tuple(like.shape)}. "
            "Build the module as it was when it was saved."
        )
    [part] = like.__create_chunk_list__()  # type: ignore[no-untyped-call]
    if isinstance(value, StoredTensor):
        local_part = value.read(part.offsets, part.sizes)
    else:
        local_part = value[tuple(slice(o, o + s) for o, s in zip(part.offsets, part.sizes, strict=True))]
    with torch.no_grad():
        result: Any = torch.empty_like(like, dtype=value.dtype)
        result.to_local().copy_(local_part)
    return result  # type: ignore[no-any-return]


class _Writer(FileSystemWriter):
    """Writes shards under new names, so that those of the checkpoint that is there stay good, and measures them."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.files: dict[str, dict[str, int]] = {}
        self.metadata: Any = None
        self.results: list[Any] = []

    def prepare_local_plan(self, plan: Any) -> Any:
        return plan

    def prepare_global_plan(self, plans: list[Any]) -> list[Any]:
        run = secrets.token_hex(8)
        return [
            dataclasses.replace(p, storage_data=dataclasses.replace(p.storage_data, prefix=f"__{run}_{i}_"))
            for i, p in enumerate(super().prepare_global_plan(plans))
        ]

    def write_data(self, plan: Any, planner: Any) -> Any:
        written = super().write_data(plan, planner)
        for name in {result.storage_data.relative_path for result in written.value()}:
            size, checksum = measured(Path(self.path) / name)
            self.files[name] = {"bytes": size, "crc32": checksum}
        return written

    def finish(self, metadata: Any, results: list[list[Any]]) -> None:
        self.metadata, self.results = metadata, results

    def publish(self) -> None:
        """Write torch's own index, for other programs."""
        if self.metadata is not None:
            super().finish(self.metadata, self.results)

    def index(self, names: Mapping[str, tuple[Any, ...]]) -> list[dict[str, Any]]:
        """Where the parts of each tensor lie."""
        parts: dict[str, list[Any]] = {name: [] for name in names}
        for result in (r for of_rank in self.results for r in of_rank):
            where, name = result.storage_data, result.index.fqn
            kept = self.metadata.state_dict_metadata[name]
            [sizes] = {tuple(c.sizes) for c in kept.chunks if tuple(c.offsets) == tuple(result.index.offset)}
            place = [list(result.index.offset), list(sizes), where.relative_path, where.offset, where.length]
            parts[name].append(place)
        kept = {} if self.metadata is None else self.metadata.state_dict_metadata
        return [
            {"path": list(path), "dtype": kept[n].properties.dtype, "size": list(kept[n].size), "chunks": parts[n]}
            for n, path in names.items()
        ]


def _without(value: Any, path: tuple[Any, ...], found: dict[tuple[Any, ...], DTensor]) -> Any:
    """The value with None for each sharded tensor, which `found` takes."""
    if isinstance(value, DTensor):
        found[path] = value
        return None
    before = len(found)
    if isinstance(value, dict):
        items = {k: _without(v, (*path, k), found) for k, v in value.items()}
        changed = copy.copy(value)  # a module's state_dict carries more than its items
        changed.update(items)
        return changed
    if type(value) in (list, tuple):
        elements = [_without(v, (*path, i), found) for i, v in enumerate(value)]
        return elements if len(found) > before else value
    return value


def _prepare(target: Path) -> None:
    if target.is_dir():
        check_folder(target)
    elif target.exists():
        raise NotADirectoryError(f"`{target}` is a file, and a sharded checkpoint is a folder. Choose another name.")
    else:
        make_folder(target)


def _all_files(writer: _Writer, group: Any) -> dict[str, dict[str, int]]:
    if not dist.is_initialized():
        return writer.files
    everyones: list[Any] = [None] * dist.get_world_size(group)
    dist.all_gather_object(everyones, writer.files, group=group)
    return {name: entry for files in everyones for name, entry in files.items()}


def _commit(
    target: Path,
    rest: Any,
    writer: _Writer,
    files: Mapping[str, Mapping[str, int]],
    names: Mapping[str, tuple[Any, ...]],
) -> None:
    absent = [name for name in files if not (target / name).is_file()]
    if absent:
        raise FileNotFoundError(
            f"Rank 0 does not see `{absent[0]}` in `{target}`, which another rank wrote. Save to a folder that all "
            "machines share."
        )
    save_file({**rest, INDEX: {"files": files, "tensors": writer.index(names)}}, target / META)
    writer.publish()
    _sweep(target, files)


def _sweep(target: Path, listed: Mapping[str, Any] | None = None) -> None:
    if listed is None:
        listed = open_shards(target)[1].files if (target / META).is_file() else {}
    for path in left_over(target, listed):
        os.unlink(path)


def _on_rank_zero(function: Callable[[], None], group: Any) -> None:
    """Call it there, wait for it everywhere; if it fails there, it fails everywhere."""
    error: Exception | None = None
    is_first = not dist.is_initialized() or dist.get_rank(group) == 0
    if is_first:
        try:
            function()
        except Exception as raised:
            error = raised
    if dist.is_initialized():
        told = [None if error is None else f"{type(error).__name__}: {error}"]
        dist.broadcast_object_list(told, group=group, group_src=0)
        if told[0] is not None and error is None:
            raise RuntimeError(f"Rank 0 could not write the checkpoint. {told[0]}")
    if error is not None:
        raise error


__all__ = ["StoredTensor", "distributed", "load", "save"]
