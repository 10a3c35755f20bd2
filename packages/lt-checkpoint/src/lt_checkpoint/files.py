"""Checkpoints as things in a folder: which are there, which is newest, which is good, and removing one."""

import re
import shutil
from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import TypeVar

from lt_interfaces import CheckpointError, CorruptCheckpoint

from lt_checkpoint.paths import StrPath, local, remote
from lt_checkpoint.reading import open_shards, opened, stored_step, verify
from lt_checkpoint.remote import copy, delete, is_there, matching
from lt_checkpoint.shards import META, left_over
from lt_checkpoint.writing import atomic_write
from lt_checkpoint.writing import link as link_file

P = TypeVar("P", bound=StrPath)

_STEP = re.compile(r"(?:^|[^a-z])step[=_-]?(\d+)")
_VERSION = re.compile(r"-v(\d+)$")
_SHARDS = re.compile(r"\.metadata(\.tmp)?|meta\.pt|.+\.distcp|\.lt-[0-9a-f]{16}\.tmp")
_MARKS = (META, ".metadata")  # what makes a folder a checkpoint: ours, and torch's own


def exists(path: StrPath) -> bool:
    """True for a file, and for a sharded folder that was written to its end."""
    url = remote(path)
    if url is not None:
        return is_there(url)
    return local(path).is_file() or any((local(path) / mark).is_file() for mark in _MARKS)


def remove(path: StrPath) -> None:
    """No checkpoint at `path`, be it a file or a sharded folder; nothing happens if there is none.

    A link is removed, not what it points to. A folder with anything else in it is a ValueError and stays.
    """
    url = remote(path)
    if url is not None:
        delete(url)
        return
    target = local(path)
    if target.is_symlink() or not target.is_dir():
        target.unlink(missing_ok=True)
        return
    check_folder(target)
    if not exists(target):
        raise ValueError(f"`{target}` is not a sharded checkpoint, it has no `{META}`. Remove it by hand if it may go.")
    for mark in _MARKS:  # first: without them nobody takes the rest for a checkpoint
        (target / mark).unlink(missing_ok=True)
    for entry in target.iterdir():
        entry.unlink()
    target.rmdir()


def check_folder(folder: Path) -> None:
    """ValueError if anything in the folder is not of a sharded checkpoint."""
    strangers = sorted(entry.name for entry in folder.iterdir() if not _SHARDS.fullmatch(entry.name) or entry.is_dir())
    if strangers:
        raise ValueError(
            f"`{folder}` is not a sharded checkpoint, it holds `{strangers[0]}`. Remove it by hand if it may go."
        )


def link(source: StrPath, target: StrPath) -> None:
    """A second name for a checkpoint, file or folder: nothing is written again, and either name may be removed.

    Where the file system has no hard links, and in remote stores, a copy.
    """
    source_url, target_url = remote(source), remote(target)
    if source_url is not None and target_url is not None:
        copy(source_url, target_url)
    elif source_url is not None or target_url is not None:
        with opened(source) as read, atomic_write(target) as write:
            shutil.copyfileobj(read, write)
    elif local(source).is_dir():
        _link_folder(local(source), local(target))
    else:
        link_file(local(source), local(target))


def _link_folder(origin: Path, goal: Path) -> None:
    _, shards = open_shards(origin)
    if goal.is_dir():
        check_folder(goal)
    for name in [*shards.files, META]:  # the last one makes it a checkpoint
        link_file(origin / name, goal / name)
    if (origin / ".metadata").is_file():
        link_file(origin / ".metadata", goal / ".metadata")
    for path in left_over(goal, shards.files):
        path.unlink()


def newest(folder: StrPath, pattern: str = "*.ckpt") -> list[Path] | list[str]:
    """The checkpoints in a folder, newest first: by step, never by the clock; addresses, if that of a store is given.

    The step is that in the name (`step=20`), else that in the file; a file that cannot be read comes first, since it
    may be the newest.
    """
    url = remote(folder)
    if url is not None:
        return sorted(matching(url, pattern), key=_age, reverse=True)
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
