"""Checkpoints as things in a folder: which are there, which is newest, which is good, and removing one."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from lt_interfaces import CheckpointError, CorruptCheckpoint

from lt_checkpoint.paths import StrPath, local
from lt_checkpoint.reading import stored_step, verify

P = TypeVar("P", bound=StrPath)

_STEP = re.compile(r"(?:^|[^a-z])step[=_-]?(\d+)")
_VERSION = re.compile(r"-v(\d+)$")
_SHARDS = re.compile(r"\.metadata|meta\.pt|.+\.distcp")


def exists(path: StrPath) -> bool:
    """True for a file, and for a sharded folder that was written to its end."""
    return local(path).is_file() or (local(path) / ".metadata").is_file()


def remove(path: StrPath) -> None:
    """No checkpoint at `path`, be it a file or a sharded folder; nothing happens if there is none.

    A link is removed, not what it points to. A folder with anything else in it is a ValueError and stays.
    """
    target = local(path)
    if target.is_symlink() or not target.is_dir():
        target.unlink(missing_ok=True)
        return
    strangers = sorted(entry.name for entry in target.iterdir() if not _SHARDS.fullmatch(entry.name) or entry.is_dir())
    if strangers or not (target / ".metadata").is_file():
        what = f"it holds `{strangers[0]}`" if strangers else "it has no `.metadata`"
        raise ValueError(f"`{target}` is not a sharded checkpoint, {what}. Remove it by hand if it may go.")
    (target / ".metadata").unlink()  # first: without it nobody takes the rest for a checkpoint
    for entry in target.iterdir():
        entry.unlink()
    target.rmdir()


def newest(folder: StrPath, pattern: str = "*.ckpt") -> list[Path]:
    """The checkpoint files in a folder, newest first: by step, never by the clock.

    The step is that in the name (`step=20`), else that in the file; a file that cannot be read comes first, since it
    may be the newest.
    """
    return sorted(filter(Path.is_file, local(folder).glob(pattern)), key=_age, reverse=True)


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


def _age(path: Path) -> tuple[float, int, str]:
    version = _VERSION.search(path.stem)
    return _step(path), int(version[1]) if version else 0, path.name


def _step(path: Path) -> float:
    named = _STEP.search(path.stem)
    if named:
        return int(named[1])
    try:
        step = stored_step(path)
    except (CheckpointError, OSError, RuntimeError):
        return float("inf")
    return -1 if step is None else step
