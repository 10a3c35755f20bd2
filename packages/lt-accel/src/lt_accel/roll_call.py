"""Which ranks are there, asked before a group is formed, so that one that never assembles says who is missing.

A store may hold words of processes that are gone, since torchrun keeps one over restarts. So each rank calls with a
token that nobody used before, rank zero answers it with the word of this assembly, and who hears that confirms.
"""

import secrets
import time
from collections.abc import Callable
from typing import Any

import torch.distributed as dist

from lt_accel.failures import PeerLost
from lt_accel.time_limit import within

_CALLS = "lt-calls"
_CUT_SECONDS = 10.0


def assemble(store: Any, rank: int, world_size: int, seconds: float, where: str) -> str:
    """Wait for all ranks; returns the word of this assembly. TimeoutError names who did not come to `where`."""
    call = _Call(store, rank, world_size, where, seconds)
    try:
        word: str = within(seconds + _CUT_SECONDS, call.made)
        return word
    except dist.DistError as error:
        raise PeerLost(
            f"Rank 0 served the meeting point {where} and ended while {world_size} ranks gathered there. "
            "Its own output says why."
        ) from error


class _Call:
    """One rank's part of an assembly."""

    def __init__(self, store: Any, rank: int, world_size: int, where: str, seconds: float) -> None:
        self._store, self._rank, self._where, self._seconds = store, rank, where, seconds
        self._deadline = time.monotonic() + seconds
        self._world = set(range(world_size))
        self._token = secrets.token_hex(8)
        self._word = ""
        self._answered: set[str] = set()

    def made(self) -> str:
        store = self._store
        store.append(_CALLS, f"{self._rank}:{self._token} ")
        if self._rank == 0:
            self._word = self._token
            store.append(f"{self._word}/there", "0 ")
            self._until(self._all_confirmed)
            store.set(f"{self._word}/complete", "yes")
        else:
            self._until(lambda: store.check([f"{self._token}/answer"]))
            self._word = store.get(f"{self._token}/answer").decode()
            store.append(f"{self._word}/there", f"{self._rank} ")
            self._until(lambda: store.check([f"{self._word}/complete"]))
        return self._word

    def _until(self, done: Callable[[], bool]) -> None:
        pause = 0.01  # asked again and again, not waited for: torch complains about each wait that was in vain
        while not done():
            if time.monotonic() > self._deadline:
                raise TimeoutError(self._complaint())
            time.sleep(pause)
            pause = min(2 * pause, 0.25)

    def _all_confirmed(self) -> bool:
        for call in self._words(_CALLS):
            token = call.split(":")[1]
            if token not in self._answered:
                self._answered.add(token)
                self._store.set(f"{token}/answer", self._word)
        return set(self._there()) >= self._world

    def _words(self, key: str) -> list[str]:
        return self._store.get(key).decode().split() if self._store.check([key]) else []

    def _there(self) -> list[int]:
        """Ranks that confirmed; without an answer, those that have ever called."""
        if self._word:
            return [int(rank) for rank in self._words(f"{self._word}/there")]
        return [int(call.split(":")[0]) for call in self._words(_CALLS) if call[:2] != "0:"]

    def _complaint(self) -> str:
        there = self._there()
        missing = sorted(self._world - set(there))
        twice = sorted(rank for rank in set(there) if self._word and there.count(rank) > 1)
        return (
            f"{len(missing)} of {len(self._world)} ranks did not come to {self._where} within {self._seconds:g} "
            f"seconds: {_named(missing)} missing"
            + (f", and {_named(twice)} twice there, started with the same `RANK`" if twice else "")
            + ". Start them, or read in their output why they ended; all need the same `MASTER_ADDR`, "
            "`MASTER_PORT` and `WORLD_SIZE`."
        )


def _named(ranks: list[int]) -> str:
    listed = ", ".join(map(str, ranks[:20])) + (", ..." if len(ranks) > 20 else "")
    return f"rank {listed} is" if len(ranks) == 1 else f"ranks {listed} are"
