"""One folder, one writer: a lock that says who holds it and goes with its holder, however that ends."""

import errno
import fcntl
import json
import os
import socket
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from weakref import WeakSet

from lt_checkpoint.paths import StrPath, local
from lt_checkpoint.writing import make_folder

NAME = ".lt-claim"
_MAX_BYTES = 1000
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EINVAL, errno.ENOSYS)


class Claim:
    """A folder that is held until `release`, the end of a `with` block or of the process."""

    def __init__(self, folder: Path, descriptor: int | None, made: list[Path]) -> None:
        self.folder = folder
        self._descriptor, self._made = descriptor, made
        _claims.add(self)

    def release(self) -> None:
        """Let others write; a folder that was made for the claim and holds nothing goes."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        with suppress(OSError):
            if os.path.samestat(os.stat(self.folder / NAME), os.fstat(descriptor)):
                os.unlink(self.folder / NAME)
        with suppress(OSError):
            for folder in reversed(self._made):
                folder.rmdir()
        os.close(descriptor)

    def _let_go(self) -> None:
        """In a child that a fork has made: the lock is its parent's, and must not outlive that."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()


def claim(folder: StrPath) -> Claim:
    """The right to be the only writer in a folder, which is made; RuntimeError at once if somebody else has it.

    Ends with the process, also by a kill: a restart never waits. On a file system without locks nothing is claimed.
    """
    place = local(folder)
    made = [p for p in (*reversed(place.parents), place) if not p.exists()]
    descriptor = None
    while descriptor is None:
        make_folder(place)
        with suppress(FileNotFoundError):  # its last holder may be removing it, and the folder with it
            descriptor = _locked(place)
    if descriptor < 0:
        return Claim(place, None, [])
    who = {"host": socket.gethostname(), "pid": os.getpid(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(who).encode(), 0)
    return Claim(place, descriptor, made)


def _locked(folder: Path) -> int | None:
    """The open lock file, None if it was removed meanwhile, negative where there are no locks."""
    descriptor = os.open(folder / NAME, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_nlink:
            return descriptor
    except OSError as error:
        holder = _holder(descriptor) if error.errno not in _NO_LOCKS else ""
        os.close(descriptor)
        if holder:
            raise RuntimeError(_taken(folder, holder)) from None
        return -1
    os.close(descriptor)
    return None


def _taken(folder: Path, holder: str) -> str:
    return (
        f"`{folder}` is being written to by {holder}. Wait for its end, stop it, or give this run a folder of its own."
    )


def _holder(descriptor: int) -> str:
    """Who wrote the lock file; right after the lock was taken that may still be to come."""
    for _ in range(50):
        with suppress(ValueError, KeyError, TypeError, RecursionError, OSError):
            who: dict[str, Any] = json.loads(os.pread(descriptor, _MAX_BYTES, 0))
            return f"process {int(who['pid'])} on {str(who['host'])!r} since {str(who['since'])!r}"
        time.sleep(0.01)
    return "another process"


def _let_go() -> None:
    for held in list(_claims):
        held._let_go()


_claims: WeakSet[Claim] = WeakSet()
os.register_at_fork(after_in_child=_let_go)
