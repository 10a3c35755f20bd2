"""Which failure of a group was the first: one rank's error makes others fail, and only the first one explains."""

import os
import threading
import time
import traceback
from typing import NamedTuple

import torch.distributed as dist

from lt_accel import waits

_LONGEST = 12_000  # characters of a traceback's end; a message must fit into a pipe
_WATCH = "lt-parent"


class PeerLost(RuntimeError):
    """Another rank's failure, noticed here."""


class Failure(NamedTuple):
    """Sorts by cause: an error of the communication itself is the echo of another rank's."""

    is_echo: bool
    time: float
    rank: int
    text: str


def failure_of(error: BaseException, rank: int) -> Failure:
    """The failure that an exception is, now; one that waited in vain is told what the others waited for."""
    now = time.monotonic()
    waits.compare(error, rank)
    text = "".join(traceback.format_exception(error))[-_LONGEST:]
    is_echo = isinstance(error, (dist.DistError, PeerLost)) or "gloo" in str(error)
    return Failure(is_echo, now, rank, text)


def ended(rank: int, code: int | None) -> Failure:
    """A process that ended without a word."""
    how = f"was ended by signal {-code}" if code is not None and code < 0 else f"ended with exit code {code}"
    return Failure(False, time.monotonic(), rank, f"Process of rank {rank} {how}.\n")


def die_with_parent(parent: int) -> None:
    """End this process within a second or so of its parent, whatever it is doing then."""
    if any(thread.name == _WATCH for thread in threading.enumerate()):
        return
    if os.getppid() != parent:
        try:
            os.kill(parent, 0)
        except ProcessLookupError:
            os._exit(1)
        return  # a process further down, started by one of ours

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, name=_WATCH, daemon=True).start()
