"""What the ranks of a save tell each other: by collectives while all stand still, by torch's store beside training."""

import json
import secrets
import time
from collections.abc import Callable, Iterable
from threading import Event, Thread
from typing import Any

import torch.distributed as dist

_BEAT_SECONDS = 1.0
_SILENCE_SECONDS = 30.0
_LONGEST_PAUSE = 0.05


class Alone:
    """One process, which agrees with itself."""

    rank, size = 0, 1

    def together(self, task: Callable[[], Any]) -> list[Any]:
        """Do it on every rank; rank zero gets all results, and if it fails on one rank, it fails on all."""
        value, failure = None, None
        try:
            value = task()
        except Exception as error:
            failure = error
        everyones = self._gathered([value, None if failure is None else f"{type(failure).__name__}: {failure}"])
        first = self._told(next(([rank, text] for rank, (_, text) in enumerate(everyones) if text is not None), None))
        if failure is not None:
            raise failure
        if first is not None:
            raise RuntimeError(f"Rank {first[0]} could not write its part of the checkpoint. {first[1]}")
        return [each for each, _ in everyones]

    def aside(self) -> "Alone":
        """The same ranks, for a thread beside training; every rank must call."""
        return self

    def close(self) -> None:
        """There is nothing more to say."""

    def _gathered(self, value: Any) -> list[Any]:
        """Every rank's value, on rank zero."""
        return [value]

    def _told(self, value: Any) -> Any:
        """Rank zero's value."""
        return value


class InStep(Alone):
    """Ranks that are all at the same place, so that collectives can be used."""

    def __init__(self, group: Any) -> None:
        self.rank, self.size, self._group = dist.get_rank(group), dist.get_world_size(group), group

    def aside(self) -> Alone:
        return Aside(self._told(secrets.token_hex(8)), self.rank, self.size)

    def _gathered(self, value: Any) -> list[Any]:
        everyones: list[Any] = [None] * self.size if self.rank == 0 else []
        dist.gather_object(value, everyones or None, group=self._group, group_dst=0)
        return everyones

    def _told(self, value: Any) -> Any:
        told = [value]
        dist.broadcast_object_list(told, group=self._group, group_src=0)
        return told[0]


class Aside(Alone):
    """Ranks whose training goes on meanwhile, and must not meet a collective of another thread.

    Each one shows by a beat that it lives, since nobody waits for one that was killed.
    """

    def __init__(self, word: str, rank: int, size: int) -> None:
        c10d: Any = dist  # its stores are public, but not for type checkers
        self._default = c10d.distributed_c10d._get_default_store()  # kept, since it may be the server
        store = self._default.clone()  # or a call here would hold up those of other threads
        self.rank, self.size, self._store = rank, size, c10d.PrefixStore(f"lt-save-{word}", store)
        self._round, self._over = 0, Event()
        self._heart = Thread(target=self._beat, name="lt-save-beat", daemon=True)
        self._heart.start()

    def close(self) -> None:
        self._over.set()
        self._heart.join()

    def _gathered(self, value: Any) -> list[Any]:
        self._round += 1
        self._store.set(f"{self._round}-{self.rank}", json.dumps(value))
        if self.rank:
            return []
        keys = [f"{self._round}-{rank}" for rank in range(self.size)]
        self._wait(lambda: self._store.check(keys), range(1, self.size))
        everyones = [json.loads(text) for text in self._store.multi_get(keys)]
        self._forget(keys)
        return everyones

    def _told(self, value: Any) -> Any:
        said, heard = f"{self._round}-said", f"{self._round}-heard"
        if self.rank:
            self._wait(lambda: self._store.check([said]), [0])
            value = json.loads(self._store.get(said))
            self._store.add(heard, 1)
            return value
        self._store.set(said, json.dumps(value))
        others = range(1, self.size)  # which must have heard before this process ends: it may serve the store
        self._wait(lambda: self._store.add(heard, 0) == len(others), others)
        self._forget([said, heard])
        return value

    def _wait(self, done: Callable[[], bool], others: Iterable[int]) -> None:
        pause, looked, beats = 0.001, time.monotonic(), dict[int, int]()
        while not done():
            time.sleep(pause)  # asked again and again, not waited for: torch complains about each wait that was in vain
            pause = min(2 * pause, _LONGEST_PAUSE)
            if time.monotonic() - looked > _SILENCE_SECONDS:
                before, beats = beats, {rank: self._store.add(f"beat-{rank}", 0) for rank in others}
                silent = [rank for rank in others if beats[rank] == before.get(rank)]
                if silent:
                    raise TimeoutError(
                        f"Rank {silent[0]} gave no sign of life for {_SILENCE_SECONDS:g} seconds while a checkpoint "
                        "was written. Read in its output why it ended."
                    )
                looked = time.monotonic()

    def _forget(self, keys: list[str]) -> None:
        for key in keys:
            self._store.delete_key(key)

    def _beat(self) -> None:
        try:
            while not self._over.wait(_BEAT_SECONDS):
                self._store.add(f"beat-{self.rank}", 1)
            self._store.delete_key(f"beat-{self.rank}")
        except RuntimeError:  # the store ended with its process, and the save is about to learn of that
            return
