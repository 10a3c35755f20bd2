"""Each rank's share of a DataLoader, made without making the loader, its sampler or its batch sampler again."""

import copy
from collections.abc import Iterator
from functools import partial
from itertools import chain, islice
from typing import Any

from lt_interfaces import rank_zero_warn
from torch.utils.data import BatchSampler, DataLoader, DistributedSampler, IterableDataset, Sampler, SequentialSampler

from lt_accel.seed import global_seed, seed_worker, seeded


class ShardedSampler(Sampler[Any]):
    """Deals out what another sampler yields, indices or whole batches, over the ranks in turn.

    The other sampler's order is kept. Where it draws from the global generators, it draws the same on every rank: they
    are seeded for it by the seed of `seed_everything` and the epoch. `even=True` gives all ranks equally many by
    starting over at the front; `even=False` gives each item once.
    """

    def __init__(self, sampler: Any, num_replicas: int, rank: int, even: bool = True, seed: int = 0) -> None:
        self.sampler = sampler
        self.num_replicas = num_replicas
        self.rank = rank
        self.even = even
        self.seed = seed
        self.epoch = 0
        self._is_seen = False

    def set_epoch(self, epoch: int) -> None:
        """Shuffle as in this epoch the next time; without a call, each time as in the next."""
        self.epoch = epoch
        self._is_seen = False
        if callable(getattr(self.sampler, "set_epoch", None)):
            self.sampler.set_epoch(epoch)

    def __iter__(self) -> Iterator[Any]:
        if self._is_seen:
            self.set_epoch(self.epoch + 1)
        self._is_seen = True
        try:
            count = len(self.sampler)
        except (TypeError, NotImplementedError):
            return self._in_rounds()
        if type(self.sampler) is SequentialSampler:
            order: Any = range(count)
        else:
            with seeded(self.seed + self.epoch):
                order = list(self.sampler)
        own = order[self.rank :: self.num_replicas]
        missing = range(len(own) * self.num_replicas + self.rank, len(self) * self.num_replicas, self.num_replicas)
        return chain(own, [order[i % len(order)] for i in missing]) if len(missing) else iter(own)

    def __len__(self) -> int:
        count = len(self.sampler)
        if self.even:
            return -(-count // self.num_replicas)
        return len(range(self.rank, count, self.num_replicas))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "sampler":
            raise AttributeError(name)
        return getattr(self.sampler, name)

    def _in_rounds(self) -> Iterator[Any]:
        """For samplers of unknown length: whole rounds, and at the end what `even` says."""
        front: list[Any] = []
        turn: list[Any] = []
        for item in self.sampler:
            turn.append(item)
            if len(turn) == self.num_replicas:
                front = front or list(turn)
                yield turn[self.rank]
                turn = []
        if turn and self.even:
            turn = list((turn + (front or turn) * self.num_replicas)[: self.num_replicas])
        if self.rank < len(turn):
            yield turn[self.rank]


class EqualBatches(BatchSampler):
    """As many batches on all ranks, and each item once: where a rank has one more, it is in its last batch."""

    def __init__(self, sampler: ShardedSampler, batch_size: int, drop_last: bool) -> None:
        super().__init__(sampler, batch_size, drop_last)
        fewest = len(sampler.sampler) // sampler.num_replicas
        self._count = fewest // batch_size if drop_last else -(-fewest // batch_size)

    def __iter__(self) -> Iterator[list[Any]]:
        items = iter(self.sampler)
        for i in range(self._count):
            takes = self.batch_size + (i == self._count - 1 and not self.drop_last)
            yield list(islice(items, takes))

    def __len__(self) -> int:
        return self._count


def sharded(
    loader: Any,
    num_replicas: int,
    rank: int,
    even: bool = True,
    as_often: bool = False,
    whole_batches: bool = False,
) -> Any:
    """The loader with this rank's share; itself if it is no DataLoader, an iterable one or sharded already.

    `as_often` gives all ranks equally many batches, which those need that run the forward pass together.
    `whole_batches` deals out batches as one process would make them, batch i to rank i modulo their number.
    """
    if not isinstance(loader, DataLoader) or isinstance(loader.dataset, IterableDataset):
        return loader
    samplers = (loader.batch_sampler, getattr(loader.batch_sampler, "sampler", None), loader.sampler)
    if any(_is_sharded(s) for s in samplers):
        return loader

    batches = loader.batch_sampler
    regroups = as_often and not (even or whole_batches) and type(batches) is BatchSampler
    regroups = regroups and len(batches.sampler) >= num_replicas  # type: ignore[union-attr]
    if as_often and not even and not regroups:
        even = True
        if not whole_batches:
            _tell_of_repeats(
                batches.sampler if type(batches) is BatchSampler else batches or loader.sampler, num_replicas
            )
    share = partial(ShardedSampler, num_replicas=num_replicas, rank=rank, even=even, seed=global_seed())
    result = copy.copy(loader)  # all its own settings and class, and no second run of its `__init__`
    settings = vars(result)
    settings["_iterator"] = None
    if batches is None:
        settings["sampler"] = share(loader.sampler)
    elif type(batches) is BatchSampler and not whole_batches:
        settings["sampler"] = share(batches.sampler)
        kind = EqualBatches if regroups else BatchSampler
        settings["batch_sampler"] = kind(settings["sampler"], batches.batch_size, batches.drop_last)
    else:
        settings["batch_sampler"] = share(batches)
    if loader.num_workers and loader.worker_init_fn is None:
        settings["worker_init_fn"] = partial(seed_worker, rank=rank)
    return result


def _tell_of_repeats(sampler: Any, num_replicas: int) -> None:
    if len(sampler) % num_replicas:
        rank_zero_warn(
            f"All ranks must run equally many batches, and a loader's {len(sampler)} parts cannot be dealt out so to "
            f"{num_replicas}: the first are seen twice. Use a multiple of it, or a loader with `batch_size`."
        )


def _is_sharded(sampler: Any) -> bool:
    return isinstance(sampler, (DistributedSampler, ShardedSampler)) or (
        hasattr(sampler, "num_replicas") and hasattr(sampler, "rank")
    )
