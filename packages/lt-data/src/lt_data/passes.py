"""One pass over a loader, whose position can be saved and found again."""

import random
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from lt_interfaces import Stateful


class Pass:
    """Up to `limit` batches of a loader; given a `position`, those after it.

    A loader with a state of its own continues by itself. Any other is replayed, with the random numbers that it had:
    those before `iter` and before the first batch, since a shuffling loader draws its order at either.
    """

    def __init__(self, loader: Any, limit: float, position: dict[str, Any] | None = None) -> None:
        self.limit = limit
        self.taken = 0
        self._seeds: list[torch.Tensor] | None = None
        if isinstance(loader, Stateful):
            self.iterator = iter(cast(Iterable[Any], loader))
            self.taken = position["taken"] if position else 0
        elif position:
            self._replay(loader, **position)
        else:
            self._seeds = [torch.get_rng_state()]
            self.iterator = iter(loader)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if self.taken >= self.limit:
            raise StopIteration
        if self.taken == 0 and self._seeds is not None:
            self._seeds[1:] = [torch.get_rng_state()]
        batch = next(self.iterator)
        self.taken += 1
        return batch

    def position(self) -> dict[str, Any]:
        """What it takes to continue after the batches taken so far."""
        return {"taken": self.taken, "seeds": self._seeds}

    def _replay(self, loader: Any, taken: int, seeds: list[torch.Tensor] | None) -> None:
        self._seeds = seeds
        with _undisturbed():
            if seeds:
                torch.set_rng_state(seeds[0])
            self.iterator = iter(loader)
            if seeds and taken:
                torch.set_rng_state(seeds[1])
            for self.taken in range(1, taken + 1):
                if next(self.iterator, self) is self:
                    raise RuntimeError(
                        f"The position to continue from lies after {taken} batches, but the loader has only "
                        f"{self.taken - 1}. Resume with the data that the state was saved with."
                    )


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Random numbers that are drawn inside change nothing outside."""
    numpy = sys.modules.get("numpy")
    states = random.getstate(), numpy.random.get_state() if numpy else None
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(states[0])
        if numpy:
            numpy.random.set_state(states[1])
