"""One pass over a loader, whose position can be saved and found again."""

import random
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from copy import copy
from typing import Any, cast

import torch
from lt_interfaces import Stateful
from torch.utils.data import DataLoader, IterableDataset


class Pass:
    """Up to `limit` batches of a loader; given a `position`, those after it.

    A loader with a state of its own continues by itself. Any other starts again with the random numbers that it had:
    those before `iter` and before the first batch, since a shuffling loader draws its order at either, from torch's
    generator or from one that it was given. Then only indices are skipped where torch's own loader reads by index in
    this process, or else batches are drawn and dropped.
    """

    def __init__(self, loader: Any, limit: float, position: dict[str, Any] | None = None) -> None:
        self.limit = limit
        self.taken = 0
        self._seeds: list[list[torch.Tensor]] | None = None
        self._generators = own_generators(loader)
        if isinstance(loader, Stateful):
            self.iterator = iter(cast(Iterable[Any], loader))
            self.taken = position["taken"] if position else 0
        elif position:
            self._replay(loader, **position)
        else:
            self._seeds = [self._states()]
            self.iterator = iter(loader)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if self.taken >= self.limit:
            raise StopIteration
        if self.taken == 0 and self._seeds is not None:
            self._seeds[1:] = [self._states()]
        batch = next(self.iterator)
        self.taken += 1
        return batch

    def position(self) -> dict[str, Any]:
        """What it takes to continue after the batches taken so far."""
        return {"taken": self.taken, "seeds": self._seeds}

    def _states(self) -> list[torch.Tensor]:
        return [torch.get_rng_state(), *(generator.get_state() for generator in self._generators)]

    def _put_back(self, states: list[torch.Tensor]) -> None:
        torch.set_rng_state(states[0])
        for generator, state in zip(self._generators, states[1:], strict=False):
            generator.set_state(state)

    def _replay(self, loader: Any, taken: int, seeds: list[list[torch.Tensor]] | None) -> None:
        self._seeds = seeds
        skipped = _Skipping.of(loader, taken)
        with _undisturbed():
            if seeds:
                self._put_back(seeds[0])
            if skipped is not None:
                self.iterator = iter(skipped.loader)
                if seeds and taken:
                    self._put_back(seeds[1])
                skipped.skip()
                self.taken = taken
                return
            self.iterator = iter(loader)
            if seeds and taken:
                self._put_back(seeds[1])
            for self.taken in range(1, taken + 1):
                if next(self.iterator, self) is self:
                    raise _too_far(taken, self.taken - 1)


class _Skipping:
    """A DataLoader's sampler whose first batches are skipped as indices; `loader` is the same loader over it."""

    def __init__(self, loader: DataLoader[Any], count: int) -> None:
        name = "sampler" if loader.batch_sampler is None else "batch_sampler"
        self.sampler, self.count = getattr(loader, name), count
        self.loader = copy(loader)
        vars(self.loader)[name] = self  # torch allows no assignment
        self._indices: Iterator[Any] = iter(())

    @staticmethod
    def of(loader: Any, count: int) -> "_Skipping | None":
        by_index = isinstance(loader, DataLoader) and not isinstance(loader.dataset, IterableDataset)
        return _Skipping(loader, count) if by_index and loader.num_workers == 0 else None

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[Any]:
        self._indices = iter(self.sampler)
        return self

    def __next__(self) -> Any:
        return next(self._indices)

    def skip(self) -> None:
        """Draw the order and drop what is behind."""
        for done in range(self.count):
            if next(self._indices, self) is self:
                raise _too_far(self.count, done)


def own_generators(loader: Any) -> list[torch.Generator]:
    """The generators that a loader or its samplers were given, each once."""
    batches = getattr(loader, "batch_sampler", None)
    owners = (loader, getattr(loader, "sampler", None), batches, getattr(batches, "sampler", None))
    found = (getattr(owner, "generator", None) for owner in owners)
    return list({id(g): g for g in found if isinstance(g, torch.Generator)}.values())


def _too_far(count: int, there: int) -> RuntimeError:
    return RuntimeError(
        f"The position to continue from lies after {count} batches, but the loader has only {there}. "
        "Resume with the data that the state was saved with."
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
