"""Checkpoints as things in a folder: which are there, which is newest, which is good, and removing one."""

import re
import shutil
from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import TypeVar

from lt_interfaces import CheckpointError, CorruptCheckpoint

from lt_checkpoint.paths import StrPath, below, local, remote, shown, temporary_name
from lt_checkpoint.reading import is_file, is_folder, open_shards, opened, stored_step, verify
from lt_checkpoint.remote import copy, forget, listing, matching
from lt_checkpoint.shards import META, TORCH_INDEX, is_shard
from lt_checkpoint.writing import atomic_write, is_temporary
from lt_checkpoint.writing import link as link_file

P = TypeVar("P", bound=StrPath)

_STEP = re.compile(r"(?:^|[^a-z])step[=_-]?(\d+)")
_VERSION = re.compile(r"-v(\d+)$")
_SHARDS = re.compile(r"\.metadata(\.tmp)?|meta\.pt|.+\.distcp")
_MARKS = (META, TORCH_INDEX)  # what makes a folder a checkpoint: ours, and torch's own


def exists(path: StrPath) -> bool:
    """True for a file, and for a sharded folder that was written to its end."""
    return is_file(path) or any(is_file(below(path, mark)) for mark in _MARKS)


def remove(path: StrPath) -> None:
    """No checkpoint at `path`, be it a file or a sharded folder; nothing happens if there is none.

    A link is removed, not what it points to. A folder with anything else in it is a ValueError and stays.
    """
    if not is_folder(path) or (remote(path) is None and local(path).is_symlink()):
        delete(path)
        return
    check_folder(path)
    if not exists(path):
        raise ValueError(
            f"`{shown(path)}` is not a sharded checkpoint, it has no `{META}`. Remove it by hand if it may go."
        )
    if remote(path) is None:
        _remove_folder(local(path))
        return
    for name in dict.fromkeys([*_MARKS, *names(path)]):  # without the marks nobody takes the rest for a checkpoint
        delete(below(path, name))


def _remove_folder(folder: Path) -> None:
    """Out of sight in one step; what a kill leaves then, the next removal beside it takes along."""
    folder.rename(folder.with_name(temporary_name()))
    for entry in folder.parent.iterdir():
        if is_temporary(entry.name) and entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)


def names(folder: StrPath) -> list[str]:
    """What is directly in a folder, those of folders with a slash at their end; nothing if there is none."""
    url = remote(folder)
    if url is not None:
        return listing(url)
    place = local(folder)
    return sorted(e.name + "/" * e.is_dir() for e in place.iterdir()) if place.is_dir() else []


def delete(path: StrPath) -> None:
    """No file of this name."""
    url = remote(path)
    if url is not None:
        forget(url)
    else:
        local(path).unlink(missing_ok=True)


def check_folder(folder: StrPath) -> None:
    """ValueError if anything in the folder is not of a sharded checkpoint."""
    strangers = [name for name in names(folder) if not (_SHARDS.fullmatch(name) or is_temporary(name))]
    if strangers:
        raise ValueError(
            f"`{shown(folder)}` is not a sharded checkpoint, it holds `{strangers[0].rstrip('/')}`. "
            "Remove it by hand if it may go."
        )


def link(source: StrPath, target: StrPath) -> None:
    """A second name for a checkpoint, file or folder: nothing is written again, and either name may be removed.

    Where the file system has no hard links, and in remote stores, a copy.
    """
    source_url, target_url = remote(source), remote(target)
    if is_folder(source):
        _link_folder(source, target)
    elif source_url is not None and target_url is not None:
        copy(source_url, target_url)
    elif source_url is not None or target_url is not None:
        with opened(source) as read, atomic_write(target) as write:
            shutil.copyfileobj(read, write)
    else:
        link_file(local(source), local(target))


def _link_folder(origin: StrPath, goal: StrPath) -> None:
    _, shards = open_shards(origin)
    check_folder(goal)
    for name in [*shards.files, META, TORCH_INDEX]:  # the last but one makes it a checkpoint
        if name != TORCH_INDEX or is_file(below(origin, name)):
            link(below(origin, name), below(goal, name))
    sweep(goal)


def sweep(folder: StrPath) -> None:
    """Remove shards of saves that did not end, or that a newer one has replaced."""
    listed = open_shards(folder, "meta")[1].files if is_file(below(folder, META)) else {}
    for name in names(folder):
        if is_shard(name) and name not in listed:
            delete(below(folder, name))


def newest(folder: StrPath, pattern: str = "*.ckpt") -> list[Path] | list[str]:
    """The checkpoints in a folder, newest first: by step, never by the clock; addresses, if that of a store is given.

    The step is that in the name (`step=20`), else that in the file; a file that cannot be read comes first, since it
    may be the newest.
    """
    url = remote(folder)
    if url is not None:
        return sorted(matching(url, pattern, META), key=_age, reverse=True)
    return sorted(filter(exists, local(folder).glob(pattern)), key=_age, reverse=True)


def last_good(paths: Iterable[P]) -> tuple[P, dict[str, str]]:
    """The first path that `load` would accept, and for each one before it the reason why not."""
    skipped: dict[str, str] = {}
    for path in paths:
        try:
            verify(path)
        except (CheckpointError, OSError) as error:
            skipped[str(path)] = str(error)
        else:
            return path, skipped
    if not skipped:
        raise FileNotFoundError("There is no checkpoint to choose from. Check the folder.")
    raise CorruptCheckpoint("None of these checkpoints can be used. " + " ".join(skipped.values()))


def _age(path: StrPath) -> tuple[float, int, str]:
    name = PurePath(path)
    version = _VERSION.search(name.stem)
    return _step(path, name.stem), int(version[1]) if version else 0, name.name


def _step(path: StrPath, stem: str) -> float:
    named = _STEP.search(stem)
    if named:
        return int(named[1])
    try:
        step = stored_step(path)
    except (CheckpointError, OSError, RuntimeError):
        return float("inf")
    return -1 if step is None else step
