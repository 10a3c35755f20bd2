"""States with sharded tensors: each rank writes and reads its own part. Importing this brings in torch's DCP.

    from lt_checkpoint import sharded

    sharded.save({"model": model.state_dict(), "step": 3}, "checkpoints/step=3")  # every rank calls
    state = sharded.load("checkpoints/step=3")
    weights = {n: sharded.distributed(v, own[n]) for n, v in state["model"].items()}

`lt_checkpoint.load` reads such a folder in full, on any number of ranks.
"""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch.distributed.tensor import DTensor

try:
    import numpy  # noqa: F401  # what torch's ranks exchange passes through it
except ImportError as error:
    raise ImportError(
        "Sharded checkpoints need numpy, with which torch's ranks exchange objects, and it is not installed. "
        'Run `pip install "lt-checkpoint[sharded]"`.'
    ) from error

from lt_checkpoint.checkpoint_io import CheckpointIO
from lt_checkpoint.paths import StrPath
from lt_checkpoint.reading import is_folder, open_shards
from lt_checkpoint.saving import check_state
from lt_checkpoint.shard_writing import ShardedSave
from lt_checkpoint.shards import StoredTensor


def save(
    state: Mapping[str, Any], folder: StrPath, *, group: Any = None, checkpoint_io: CheckpointIO | None = None
) -> None:
    """A complete, durable folder, or an exception and what it held before untouched; every rank must call.

    Each rank writes its part of the `DTensor`s in dicts, lists and tuples. All else is written once, from rank zero, in
    its plain form. The folder, or address in a store, may hold an older checkpoint, which is replaced, and nothing
    else. With an `AsyncCheckpointIO` each rank writes in the background, and the folder is complete when all have.
    """
    check_state(state)
    found: dict[tuple[Any, ...], DTensor] = {}
    rest = _without(state, (), found)
    (checkpoint_io or CheckpointIO()).save_shards(ShardedSave(folder, rest, found, group))


def load(folder: StrPath) -> dict[str, Any]:
    """The state, its sharded tensors still on disk: each a `StoredTensor`, to be read whole or in part."""
    meta, shards = open_shards(folder)
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


__all__ = ["StoredTensor", "distributed", "is_folder", "load", "save"]
