"""Checkpoints come from disk here: verified first, and never able to run anything."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, BinaryIO

import torch
from lt_interfaces import CorruptCheckpoint, nearest

from lt_checkpoint.archive import check_archive
from lt_checkpoint.paths import StrPath, below, local, remote, shown
from lt_checkpoint.remote import download, is_there
from lt_checkpoint.shards import META, TORCH_INDEX, Shards


def load(path: StrPath, map_location: Any = "cpu") -> dict[str, Any]:
    """The dict in a checkpoint, every byte of it checked; Lightning's files and `torch.save`'s too.

    A sharded checkpoint's folder is read in full: its tensors are whole, whatever the number of ranks was.
    An address (`s3://`, `https://`) is copied to this machine first, and that copy is checked and read.
    Raises FileNotFoundError, CorruptCheckpoint (truncated, altered, no checkpoint) or UnsafeCheckpoint (asks for more
    than plain values and tensors). Nothing that the file says is run, whatever `torch.serialization` was told to allow.
    """
    if is_folder(path):
        meta, shards = open_shards(path, map_location)
        return shards.put_into(meta, read=True)
    with opened(path) as file:
        check_archive(file, shown(path))
        return _unpickle(file, shown(path), map_location)


def is_file(path: StrPath) -> bool:
    """True for a file, here or in a store."""
    url = remote(path)
    return local(path).is_file() if url is None else is_there(url)


def is_folder(path: StrPath) -> bool:
    """True for a folder; stores have files only, and there the marker of a sharded checkpoint makes one."""
    if remote(path) is None:
        return local(path).is_dir()
    return not is_file(path) and is_file(below(path, META))


def open_shards(folder: StrPath, map_location: Any = "cpu") -> tuple[dict[str, Any], Shards]:
    """What `meta.pt` of a sharded checkpoint holds, and the shards that belong to it."""
    marker = below(folder, META)
    has_marker = is_file(marker)
    if not has_marker and not is_file(below(folder, TORCH_INDEX)):
        raise IsADirectoryError(
            f"`{shown(folder)}` is a folder without a complete sharded checkpoint. Name a checkpoint."
        )
    meta = load(marker, map_location) if has_marker else {}
    return meta, Shards(folder, meta)


def load_unsafe(path: StrPath, *, i_trust_this_file: bool = False, map_location: Any = "cpu") -> Any:
    """Whatever is in a file of any age, RUNNING ANY CODE IT NAMES: only for files that you wrote yourself.

    Good for one thing: `save(load_unsafe(old, i_trust_this_file=True), new)` turns an old file into a safe one.
    """
    if i_trust_this_file is not True:
        raise ValueError(f"Loading `{path}` may run any code. Pass `i_trust_this_file=True` only if you wrote it.")
    if remote(path) is not None:
        raise ValueError(
            f"`{shown(path)}` is on another machine, and code from there is never run. Copy it here first."
        )
    with opened(path) as file:
        return torch.load(file, map_location=map_location, weights_only=False)


def verify(path: StrPath) -> None:
    """Return if `load` would accept the checkpoint, without loading its tensors; else raise what `load` would."""
    if is_folder(path):
        _, shards = open_shards(path, "meta")
        for name in shards.files:
            shards.check(name)
        for _, tensor in shards.tensors:
            tensor.check()
        return
    with opened(path) as file:
        check_archive(file, shown(path))
        _unpickle(file, shown(path), "meta")


def stored_step(path: StrPath) -> int | None:
    """The `global_step` in a checkpoint, None if it has none; reads no tensors and checks no checksums."""
    place = below(path, META) if is_folder(path) else path
    with opened(place) as file:
        check_archive(file, shown(place), checksums=False)
        step = _unpickle(file, shown(place), "meta").get("global_step")
    return step if isinstance(step, int) else None


@contextmanager
def opened(place: StrPath) -> Iterator[BinaryIO]:
    """A file's bytes, none of them checked; of a remote one those of a copy."""
    url = remote(place)
    if url is not None:
        with download(url) as file:
            yield file
        return
    path = local(place)
    if not path.exists():
        raise FileNotFoundError(_missing(path))
    if path.is_dir():
        raise IsADirectoryError(f"`{path}` is a folder. Name the file itself.")
    if not path.is_file():
        raise CorruptCheckpoint(f"`{path}` is a device, pipe or socket, no checkpoint. Name a checkpoint file.")
    with path.open("rb") as file:
        yield file


def _missing(path: Path) -> str:
    if not path.parent.is_dir():
        return f"There is no checkpoint `{path}`, and no folder `{path.parent}`. Check the path."
    names = sorted(entry.name for entry in path.parent.iterdir() if entry.is_file())
    names = [name for name in names if name.endswith(path.suffix or ".ckpt")]
    match = nearest(path.name, names)
    remedy = f"Did you mean `{match}`?" if match else f"The folder has {', '.join(names[:5]) or 'no such files'}."
    return f"There is no checkpoint `{path}`. {remedy}"


def _unpickle(file: BinaryIO, path: str, map_location: Any) -> dict[str, Any]:
    """The dict in an open, verified archive."""
    try:
        values = torch.load(file, map_location=map_location, weights_only=True)
    except (UnpicklingError, AssertionError, AttributeError, EOFError, LookupError, TypeError, ValueError) as error:
        raise CorruptCheckpoint(f"`{path}` holds what torch cannot read: {error}. Use another checkpoint.") from error
    except RuntimeError as error:
        if str(map_location) not in ("cpu", "meta"):
            raise  # the device may be at fault
        raise CorruptCheckpoint(
            f"`{path}` holds tensors that cannot be made: {error}. Use another checkpoint."
        ) from error
    if not isinstance(values, dict):
        raise CorruptCheckpoint(f"`{path}` holds a `{type(values).__name__}`, not a dict. Read it with `torch.load`.")
    return values
