"""What each rank waited for when time was up: a collective that not all take part in names none by itself."""

import os
import re
import time
import traceback
from functools import partial
from typing import Any

import torch
import torch.distributed as dist

from lt_accel.time_limit import within

_SECONDS = 2.0
_TORCH = os.path.dirname(torch.__file__)
_NOT_THEIRS = re.compile(rf"^{re.escape(_TORCH)}|[\\/]lt(_\w+)?[\\/]|^<")
_PASSED_THROUGH = ("wrapper", "decorate_context")


def compare(error: BaseException, rank: int) -> None:
    """Tell the others where this rank was; if it waited in vain, note on the error where all were."""
    text = str(error).lower()
    if not dist.is_initialized() or ("gloo" not in text and not isinstance(error, dist.DistError)):
        return
    try:
        waited = "timed out" in text or "timeout" in text
        note = within(_SECONDS + 1, partial(_exchange, rank, _place(error), dist.get_world_size(), waited))
    except (RuntimeError, TimeoutError):  # the store ended with its process, or it cannot be reached
        return
    if note:
        error.add_note(note)


def _exchange(rank: int, place: str, world_size: int, waited: bool) -> str:
    store: Any = dist.PrefixStore("lt-waits", dist.distributed_c10d._get_default_store())  # type: ignore[attr-defined]
    store.set(str(rank), place)
    if not waited:
        return ""
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline and not store.check([str(rank) for rank in range(world_size)]):
        time.sleep(0.05)
    lines = ["A rank waited in vain for others. All must take part in the same collectives in the same order:"]
    for rank in range(world_size):
        there = store.check([str(rank)])
        place = store.get(str(rank)).decode() if there else "in no collective that failed; it hangs or is gone"
        lines.append(f"  rank {rank}: {place}")
    lines.append("Set `TORCH_DISTRIBUTED_DEBUG=DETAIL` to have torch compare them at each call.")
    return "\n".join(lines)


def _place(error: BaseException) -> str:
    """The collective, and the line that led to it: the user's own if there is one."""
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [f for f in frames if not _NOT_THEIRS.search(f.filename)] or frames
    called = [f.name for f in frames if f.filename.startswith(_TORCH) and f.name not in _PASSED_THROUGH]
    called = [name for name in called if name[0] != "_"]
    what = f"in `{called[-1]}`, " if called else ""
    return f"{what}called from {theirs[-1].filename}:{theirs[-1].lineno} in `{theirs[-1].name}`"
