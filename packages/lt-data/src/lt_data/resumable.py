"""A DataLoader that continues in the middle of an epoch."""

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from lt_data.current import Current
from lt_data.sampler import ResumableSampler
from lt_data.seeding import mixed


class ResumableLoader(DataLoader[Any]):
    """A DataLoader with a state: it counts the batches that came out, whatever its workers have fetched ahead.

    Resuming fetches nothing twice, and may be on another number of ranks. A finished epoch is followed by the next
    one in a new order, also if nobody calls `set_epoch`.

    Args:
        dataset: A dataset with a length.
        batch_size: Samples in a batch.
        shuffle: For a sampler of its own, with seed 0.
        sampler: A `ResumableSampler`, for another seed, or a choice about ranks.
        options: All other arguments of DataLoader, except batch samplers.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        batch_size: int = 1,
        shuffle: bool = False,
        sampler: ResumableSampler | None = None,
        **options: Any,
    ) -> None:
        if sampler is None:
            sampler = ResumableSampler(dataset, shuffle=shuffle)  # type: ignore[arg-type]
        elif not isinstance(sampler, ResumableSampler):
            raise TypeError(f"`sampler` got {sampler!r}. Give a `ResumableSampler`, or use torch's DataLoader.")
        elif shuffle:
            raise ValueError("`shuffle=True` and `sampler` both give an order. Say `shuffle` to the sampler.")
        self._order = sampler
        self._begun = False
        self._current: Current[_Counted] = Current()
        super().__init__(dataset, batch_size=batch_size, sampler=sampler, **options)

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        order, begun, self._begun = self._order, self._begun, False
        if not begun:
            order.position = 0
        with torch.random.fork_rng(devices=[], enabled=begun):
            if begun:  # a seed for workers was drawn when the epoch began
                torch.manual_seed(mixed(order.seed, order.epoch, order.position, order.rank))
            batches = super().__iter__()
        counted = _Counted(batches, order, self.batch_size or 1)
        self._current.set(counted)
        return counted

    def reset(self) -> None:
        """Forget the position and stop persistent workers; the next iteration is a whole epoch."""
        self._order.position, self._begun = 0, False
        self._current.set(None)
        self._iterator = None

    def state_dict(self) -> dict[str, Any]:
        """Seed, epoch and position of the sampler, after the batches that came out."""
        counted, state = self._current.get(), self._order.state_dict()
        if counted is None or counted.epoch != self._order.epoch:
            return {**state, "begun": self._begun}
        return {**state, "position": counted.position(), "begun": True}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Let the next iteration give what was still to come."""
        self._order.load_state_dict(state_dict)
        self._begun = state_dict["begun"]
        self._current.set(None)


class _Counted:
    """Batches with the position after them; the end of the epoch is the start of the next."""

    def __init__(self, batches: Iterator[Any], order: ResumableSampler, batch_size: int) -> None:
        self.batches, self.order = batches, order
        self.epoch, self.taken = order.epoch, order.position
        self.stride = batch_size * order.num_replicas

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            batch = next(self.batches)
        except StopIteration:
            if self.order.epoch == self.epoch:
                self.order.set_epoch(self.epoch + 1)
            raise
        self.taken += self.stride
        return batch

    def position(self) -> int:
        """Samples of the epoch that are behind all ranks."""
        return min(self.taken, len(self.order.dataset))  # type: ignore[arg-type]
