"""Files that are there whole or not at all: temporary file beside the target, fsync, rename.

A writer holds a lock on its temporary file, so that the next writer in the folder can tell what a killed one left
behind from what a live one is writing, and removes the former. Everything happens relative to the opened folder, so
moving or swapping a folder meanwhile cannot send the file elsewhere.
"""

import errno
import fcntl
import os
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from lt_checkpoint.paths import StrPath, local, remote, temporary_name
from lt_checkpoint.remote import upload

_TEMPORARY = re.compile(r"\.lt-[0-9a-f]{16}\.tmp")


@contextmanager
def atomic_write(path: StrPath, *, needs_bytes: int = 0) -> Iterator[BinaryIO]:
    """A binary file that takes the place of `path` when the block ends, and on disk; an exception leaves no trace.

    Missing folders are made. A symbolic link at `path` is replaced, never followed. Permissions are what the umask
    gives, or those of the file replaced where they are stricter. `needs_bytes` is checked against the free space.
    In a store that `path` is an address of, the file is sent while it is written, and appears in one step.
    """
    url = remote(path)
    with _beside(local(path), needs_bytes) if url is None else upload(url) as file:
        yield file


@contextmanager
def _beside(target: Path, needs_bytes: int) -> Iterator[BinaryIO]:
    folder = _open_folder(target.parent)
    try:
        limit = _mode_limit(folder, target)
        _check_space(folder, target, needs_bytes)
        _sweep(folder)
        name, descriptor = _open_temporary(folder)
        file = os.fdopen(descriptor, "wb")
        try:
            mode = stat.S_IMODE(os.fstat(descriptor).st_mode) & limit
            os.fchmod(descriptor, 0o600)
            yield file
            file.flush()
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
            os.replace(name, target.name, src_dir_fd=folder, dst_dir_fd=folder)
            os.fsync(folder)
        except BaseException:
            with suppress(OSError):
                os.unlink(name, dir_fd=folder)
            raise
        finally:
            with suppress(OSError):  # only after a failed flush, which has been raised already
                file.close()
    finally:
        os.close(folder)


def link(origin: Path, goal: Path) -> None:
    """A second name for a written file: nothing is written again, and either name may be removed.

    Where the file system has no hard links, a copy.
    """
    folder = _open_folder(goal.parent)
    try:
        _mode_limit(folder, goal)
        name = temporary_name()
        moved = False
        while not moved:
            try:
                os.link(origin, name, dst_dir_fd=folder, follow_symlinks=False)
            except OSError as error:
                if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP):
                    raise
                return _copy(origin, goal)
            with suppress(FileNotFoundError):  # swept by another writer, since nobody holds a lock on it
                os.replace(name, goal.name, src_dir_fd=folder, dst_dir_fd=folder)
                moved = True
        with suppress(FileNotFoundError):  # still there if both were one file already: rename then does nothing
            os.unlink(name, dir_fd=folder)
        os.fsync(folder)
    finally:
        os.close(folder)


def _copy(origin: Path, goal: Path) -> None:
    with open(origin, "rb") as read, _beside(goal, origin.stat().st_size) as write:
        shutil.copyfileobj(read, write)


def is_temporary(name: str) -> bool:
    """True for such names."""
    return bool(_TEMPORARY.fullmatch(name))


def write_text(path: StrPath, text: str) -> None:
    """A text file in UTF-8, whole or not at all."""
    with atomic_write(path) as file:
        file.write(text.encode())


def _open_folder(folder: Path) -> int:
    if not folder.is_dir():
        make_folder(folder)
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY)


def make_folder(folder: Path) -> None:
    """Make a folder whose name survives a power loss."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    with suppress(FileExistsError):
        folder.mkdir()
    parent = os.open(folder.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)


def _mode_limit(folder: int, target: Path) -> int:
    """The permissions that the new file may have at most; refuses to replace what is no plain file."""
    try:
        mode = os.stat(target.name or ".", dir_fd=folder, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return 0o777
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(
            errno.EISDIR, "A folder is in the way of the file; remove it or choose another name", str(target)
        )
    if stat.S_ISREG(mode) or stat.S_ISLNK(mode):
        return stat.S_IMODE(mode)
    raise OSError(errno.EINVAL, "A device, pipe or socket is in the way of the file; choose another name", str(target))


def _check_space(folder: int, target: Path, needs_bytes: int) -> None:
    if not needs_bytes:
        return
    disk = os.fstatvfs(folder)
    free = disk.f_bavail * disk.f_frsize
    if needs_bytes > free:
        message = f"The file needs {needs_bytes:,} bytes and {free:,} are free; free some space or write elsewhere"
        raise OSError(errno.ENOSPC, message, str(target))


def _open_temporary(folder: int) -> tuple[str, int]:
    """A new, locked file; the kernel applies the umask, which no thread can read without changing it."""
    while True:
        name = temporary_name()
        descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666, dir_fd=folder)
        with suppress(OSError):  # a file system without locks: then nobody sweeps there either
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return name, descriptor
        os.close(descriptor)  # swept in the moment before the lock


def _sweep(folder: int) -> None:
    """Remove the temporary files of writers that were killed."""
    for name in os.listdir(folder):
        if not is_temporary(name):
            continue
        with suppress(OSError):  # held by a live writer, or gone
            descriptor = os.open(name, os.O_RDWR | os.O_NOFOLLOW, dir_fd=folder)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(name, dir_fd=folder)
            finally:
                os.close(descriptor)
