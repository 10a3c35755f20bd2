"""The batches of training, epoch by epoch, from any position on without loading those before it."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import torch
from lt_interfaces import Stateful, rank_zero_info
from torch.utils.data import DataLoader, IterableDataset
from torch.utils.data._utils import pin_memory

from lt_loops import rng
from lt_loops.sources import altered, flat, is_combined


class Feed:
    """A loader with a position.

    One with a state of its own goes on from that. Of any other DataLoader over samples with an index, only indices are
    skipped; its workers get the generators that the last batch of each left behind. The rest is drawn and dropped.
    """

    def __init__(self, loader: Any, most: float) -> None:
        self.loader, self.most = loader, most
        self.generators = own_generators(loader)
        self._follows = _draws_in_order(loader)
        self._twin = _stamping(loader) if self._follows else loader
        self._workers: dict[int, rng.Packed] = {}
        self._kept = False
        """True in an epoch for which no workers were started: there were some already."""
        self._told = False

    def state_dict(self, within_epoch: bool) -> dict[str, Any]:
        """The loader's own state and the workers' generators after the batches that came out so far."""
        state: dict[str, Any] = {"workers": dict(self._workers), "kept": self._kept}
        if isinstance(self._twin, Stateful) and (within_epoch or self.most == float("inf")):
            state["loader"] = self._twin.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> bool:
        """Let `start` go on from a saved state; True if the loader itself stands there now."""
        self._workers, self._kept = dict(state["workers"]), state["kept"]
        if "loader" in state and isinstance(self._twin, Stateful):
            self._twin.load_state_dict(state["loader"])
            if isinstance(state["loader"], dict) and state["loader"].get("_iterator_finished"):
                with rng.isolated():  # torchdata makes an iterator of this state only to throw it away: do that now
                    self._twin.state_dict()
            return True
        return False

    def start(self, position: int, stateful: bool = False) -> Iterator[Any]:
        """The batches after `position`; `stateful` if the loader itself was put there."""
        if not self._follows:
            return self._plain(position, stateful)
        count = self._twin.num_workers
        if not position:
            self._kept = self._twin.persistent_workers and len(self._workers) == count
            self._workers = self._workers if self._kept else {}
        skips = len(self._workers) == count
        if not skips:
            self._workers = {}  # some have not given a batch yet: those few batches are made again
        twin = _from(self._twin, position) if position and skips and not stateful else self._twin
        first = position if skips or stateful else 0
        known = {j: self._workers[role] for j in range(count) if (role := (j + first) % count) in self._workers}
        twin.generator = torch.Generator() if self._kept else self.loader.generator  # seeds workers when they start
        twin.worker_init_fn = _Begin(self.loader.worker_init_fn, known)
        return self._followed(iter(twin), first, position)

    def _followed(self, stamped: Iterator[Any], first: int, position: int) -> Iterator[Any]:
        """Started at once, so that its draws are made now."""
        batches = self._unstamped(stamped, first)
        for _ in range(position - first):
            next(batches, None)
        return batches if self.most == float("inf") else islice(batches, max(0, int(self.most) - position))

    def _unstamped(self, stamped: Iterator[Any], first: int) -> Iterator[Any]:
        count = self._twin.num_workers
        for number, one in enumerate(stamped, first):
            if one.state is not None:
                self._workers[number % count] = one.state
            yield one.batch

    def _plain(self, position: int, stateful: bool) -> Iterator[Any]:
        loader, left = self.loader, position
        if position and not stateful and _is_indexed(loader):
            loader, left = _from(loader, position), 0
        found: Iterable[Any] = (triple[0] for triple in loader) if is_combined(loader) else loader
        batches = iter(found)
        if left == 0 and position and loader is not self.loader:
            _begun(loader)
        if left and not stateful:
            self._say(left)
            for _ in range(left):
                next(batches, None)
        return batches if self.most == float("inf") else islice(batches, max(0, int(self.most) - position))

    def _say(self, left: int) -> None:
        if not self._told and not isinstance(self.loader, list):
            rank_zero_info(
                f"`{type(self.loader).__name__}` has neither a `state_dict` nor an index to skip by: the {left} "
                "batches before the position are drawn again and dropped."
            )
        self._told = True


class _Rest:
    """The indices of a sampler after the first ones, which are dropped when the first of the rest is drawn."""

    def __init__(self, sampler: Any, skip: int) -> None:
        self.sampler, self.skip = sampler, skip
        self._indices: Iterator[Any] = iter(())
        self._left = 0

    def __len__(self) -> int:
        return max(0, len(self.sampler) - self.skip)

    def __iter__(self) -> Iterator[Any]:
        self._indices, self._left = iter(self.sampler), self.skip
        return self

    def __next__(self) -> Any:
        self.begin()
        return next(self._indices)

    def begin(self) -> None:
        """Drop now what is to be dropped."""
        for _ in range(self._left):
            next(self._indices, None)
        self._left = 0


class _Stamped:
    """A batch and, where it changed, the state of the generators of the worker that made it."""

    def __init__(self, batch: Any, state: rng.Packed | None) -> None:
        self.batch, self.state = batch, state

    def pin_memory(self) -> "_Stamped":
        return _Stamped(pin_memory.pin_memory(self.batch), self.state)  # type: ignore[no-untyped-call]


class _Stamping:
    """A loader's `collate_fn` that stamps what it makes."""

    def __init__(self, collate: Any) -> None:
        self.collate = collate
        self.last: rng.Packed | None = None

    def __call__(self, samples: Any) -> _Stamped:
        batch, state = self.collate(samples), rng.packed()
        fresh = None if state == self.last else state
        self.last = state
        return _Stamped(batch, fresh)


class _Begin:
    """A loader's `worker_init_fn` that lets generators go on where they were."""

    def __init__(self, first: Any, states: dict[int, rng.Packed]) -> None:
        self.first, self.states = first, states

    def __call__(self, worker_id: int) -> None:
        if self.first is not None:
            self.first(worker_id)
        if worker_id in self.states:
            rng.unpack(self.states[worker_id])


def _is_indexed(loader: Any) -> bool:
    return isinstance(loader, DataLoader) and not isinstance(loader.dataset, IterableDataset)


def _draws_in_order(loader: Any) -> bool:
    """True for worker processes that torch itself runs, whose batches come out in turn."""
    return (
        _is_indexed(loader)
        and loader.num_workers > 0
        and getattr(loader, "in_order", True)
        and type(loader)._get_iterator is DataLoader._get_iterator
    )


def _stamping(loader: DataLoader[Any]) -> DataLoader[Any]:
    return altered(loader, collate_fn=_Stamping(loader.collate_fn))


def _from(loader: DataLoader[Any], position: int) -> DataLoader[Any]:
    """The loader as it is, but for the batches that it no longer gives."""
    name = "sampler" if loader.batch_sampler is None else "batch_sampler"
    return altered(loader, **{name: _Rest(getattr(loader, name), position)})


def _begun(twin: DataLoader[Any]) -> None:
    """Draw the order now, while the generators stand as they did at the start of the epoch."""
    (twin.sampler if twin.batch_sampler is None else twin.batch_sampler).begin()  # type: ignore[union-attr]


def own_generators(loader: Any) -> list[torch.Generator]:
    """The generators that a loader was given, each once."""
    found: dict[int, torch.Generator] = {}
    for leaf in flat(loader.iterables if is_combined(loader) else loader):
        batch_sampler = getattr(leaf, "batch_sampler", None)
        for owner in (leaf, getattr(leaf, "sampler", None), batch_sampler, getattr(batch_sampler, "sampler", None)):
            generator = getattr(owner, "generator", None)
            if isinstance(generator, torch.Generator):
                found[id(generator)] = generator
    return list(found.values())
