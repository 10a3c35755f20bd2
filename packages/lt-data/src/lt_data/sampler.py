"""A sampler whose order is a function of the epoch, so that it can start anywhere in it."""

from collections.abc import Iterator, Sized
from typing import Any

import torch
from torch import Tensor, distributed
from torch.utils.data import DistributedSampler

from lt_data.seeding import mixed


def sample_ids(
    length: int,
    *,
    seed: int = 0,
    epoch: int = 0,
    position: int = 0,
    rank: int = 0,
    world_size: int = 1,
    shuffle: bool = True,
    even: bool = True,
    drop_last: bool = False,
) -> Tensor:
    """The samples that a rank takes in the rest of an epoch; nothing else decides them.

    Ranks take turns, so that `position` samples are behind all of them together, whatever their number was. If
    `even`, each gets as many: the first samples of the order come once more, or with `drop_last` the last ones never.
    """
    generator = torch.Generator().manual_seed(mixed(seed, epoch))
    order = torch.randperm(length, generator=generator) if shuffle else torch.arange(length)
    rest = length - position
    if even:
        rest = (rest if drop_last else rest + world_size - 1) // world_size * world_size
    places = torch.arange(position + rank, max(position + rest, position + rank), world_size)
    return order[places % max(length, 1)]


class ResumableSampler(DistributedSampler[Any]):
    """Samples in an order given by seed and epoch, sharded over the ranks, from any position on.

    Args:
        data: What is sampled from; only its length matters.
        shuffle: False goes through in order.
        seed: The same on every rank.
        rank: This process; by default as torch.distributed has it, 0 without.
        world_size: Number of processes that share the samples; by default likewise.
        even: False gives each sample once, so that ranks may differ by one.
        drop_last: Make even by leaving samples out instead of repeating some.
    """

    def __init__(
        self,
        data: Sized,
        *,
        shuffle: bool = True,
        seed: int = 0,
        rank: int | None = None,
        world_size: int | None = None,
        even: bool = True,
        drop_last: bool = False,
    ) -> None:
        joined = distributed.is_available() and distributed.is_initialized()
        rank = rank if rank is not None else distributed.get_rank() if joined else 0
        world_size = world_size if world_size is not None else distributed.get_world_size() if joined else 1
        super().__init__(data, world_size, rank, shuffle, seed, drop_last)  # type: ignore[arg-type]
        self.even = even
        self.position = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order; another epoch starts at its beginning."""
        if epoch != self.epoch:
            self.epoch, self.position = epoch, 0

    def _ids(self, position: int) -> Tensor:
        return sample_ids(
            len(self.dataset),  # type: ignore[arg-type]
            seed=self.seed,
            epoch=self.epoch,
            position=position,
            rank=self.rank,
            world_size=self.num_replicas,
            shuffle=self.shuffle,
            even=self.even,
            drop_last=self.drop_last,
        )

    def __iter__(self) -> Iterator[int]:
        return iter(self._ids(self.position).tolist())

    def __len__(self) -> int:
        """Number of samples in a whole epoch of this rank."""
        samples, ranks = len(self.dataset), self.num_replicas  # type: ignore[arg-type]
        if self.even:
            return samples // ranks if self.drop_last else -(-samples // ranks)
        return len(range(self.rank, samples, ranks))

    def state_dict(self) -> dict[str, int]:
        """Seed, epoch, and the `position` in it from which an iteration starts."""
        return {"length": len(self.dataset), "seed": self.seed, "epoch": self.epoch, "position": self.position}  # type: ignore[arg-type]

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Start there; the number of ranks may be another than it was."""
        if state_dict["length"] != len(self.dataset):  # type: ignore[arg-type]
            raise ValueError(
                f"The state is of {state_dict['length']} samples, but there are {len(self.dataset)}. "  # type: ignore[arg-type]
                "Resume with the data that it was saved with."
            )
        self.seed, self.epoch, self.position = (state_dict[k] for k in ("seed", "epoch", "position"))
