"""The rest of an epoch for another number of processes than began it: each sample that is left, once."""

import random
import sys
from collections.abc import Iterator, Sized
from dataclasses import asdict, dataclass, field
from typing import Any, cast

import torch
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset, Sampler

from lt_loops import rng
from lt_loops.sources import altered, flat, is_combined


@dataclass(slots=True)
class Regrouping:
    """How the epoch's order was drawn, and how much of it was behind all processes at each change of their number."""

    processes: int
    seed: int | None
    epoch: int
    epoch_rng: dict[str, Any]
    cuts: list[tuple[int, int]] = field(default_factory=list)
    """Processes, and batches of each."""

    @classmethod
    def of(cls, state: dict[str, Any]) -> "Regrouping":
        return cls(**{**state, "cuts": [(n, batches) for n, batches in state["cuts"]]})

    def state_dict(self) -> dict[str, Any]:
        return asdict(self)

    def rest(self, loader: Any) -> DataLoader[Any] | None:
        """The loader, as given by the user, over the samples that are left; None if its order cannot be told."""
        if type(loader) is not DataLoader or isinstance(loader.dataset, IterableDataset):
            return None
        batches = loader.batch_sampler
        if type(batches) is not BatchSampler or (self.processes > 1 and self.seed is None):
            return None
        left = self._order(loader, batches)
        for processes, count in self.cuts:
            left = left[processes * count * batches.batch_size :]
        return _with_sampler(loader, _Listed(left))

    def _order(self, loader: DataLoader[Any], batches: BatchSampler) -> list[int]:
        own = [g for g in (loader.generator, getattr(batches.sampler, "generator", None)) if g is not None]
        own = list({id(g): g for g in own}.values())
        now = rng.capture(own)
        try:
            if self.processes > 1:
                assert self.seed is not None  # noqa: S101
                return _drawn_together(batches.sampler, self.seed, self.epoch)
            rng.restore(self.epoch_rng, own)
            twin, samples = _with_sampler(loader, batches.sampler), cast(Sized, loader.dataset)
            vars(twin).update(dataset=_Indices(len(samples)), collate_fn=list, num_workers=0, pin_memory=False)
            twin.multiprocessing_context = twin.prefetch_factor = twin.worker_init_fn = None
            return [index for batch in twin for index in batch]
        finally:
            rng.restore(now, own)


def _drawn_together(sampler: Any, seed: int, epoch: int) -> list[int]:
    """The order that every rank draws: from the seed and the epoch."""
    random.seed(seed + epoch)
    torch.default_generator.manual_seed(seed + epoch)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed((seed + epoch) % 2**32)
    if callable(getattr(sampler, "set_epoch", None)):
        sampler.set_epoch(epoch)
    return list(sampler)


def _with_sampler(loader: DataLoader[Any], sampler: Any) -> DataLoader[Any]:
    drop_last = loader.drop_last and isinstance(sampler, _Listed)
    batch_sampler = BatchSampler(sampler, loader.batch_sampler.batch_size, drop_last)  # type: ignore[union-attr]
    return altered(loader, sampler=sampler, batch_sampler=batch_sampler)


class _Listed(Sampler[int]):
    """These indices in this order."""

    def __init__(self, indices: list[int]) -> None:
        self.indices = indices

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)

    def __len__(self) -> int:
        return len(self.indices)


class _Indices(Dataset[int]):
    """Samples that are their own index."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __getitem__(self, index: int) -> int:
        return index

    def __len__(self) -> int:
        return self.count


def order_seeds(loader: Any) -> list[int | None]:
    """The seed from which ranks draw their common order, for each of the loaders; None where they draw none."""
    return [getattr(dealt_sampler(leaf), "seed", None) for leaf in _leaves(loader)]


def set_order_seeds(loader: Any, seeds: list[int | None]) -> None:
    """Draw the orders that were drawn with these seeds."""
    for leaf, seed in zip(_leaves(loader), seeds, strict=False):
        sampler = dealt_sampler(leaf)
        if sampler is not None and seed is not None:
            sampler.seed = seed


def _leaves(loader: Any) -> list[Any]:
    return flat(loader.iterables if is_combined(loader) else loader)


def dealt_sampler(loader: Any) -> Any:
    """The sampler that deals out an order over ranks."""
    batches = getattr(loader, "batch_sampler", None)
    candidates = (getattr(batches, "sampler", None), batches, getattr(loader, "sampler", None))
    return next((s for s in candidates if hasattr(s, "num_replicas") and hasattr(s, "seed")), None)
