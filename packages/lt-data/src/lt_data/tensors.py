"""A loader over tensors in memory that does what `DataLoader(TensorDataset(...))` does, without touching samples."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from lt_data.current import Current


class TensorLoader:
    """Yields the batches of `DataLoader(TensorDataset(*tensors), ...)`, bit for bit, many times faster.

    It draws the same random numbers at the same moments, so swapping it in changes nothing else either. Without
    shuffling a batch is a view: do not write into it. Tensors may live on a GPU; then no batch has to be moved.

    Args:
        tensors: As many first dimensions of the same size, on one device.
        batch_size: Samples in a batch.
        shuffle: A new order each time, from `generator` or else from torch's global one.
        sampler: Gives the order instead; in a distributed run a `ResumableSampler` or `DistributedSampler`.
        generator: Draws the order.
        drop_last: Leave out an incomplete last batch.
    """

    def __init__(
        self,
        *tensors: Tensor,
        batch_size: int = 1,
        shuffle: bool = False,
        sampler: Iterable[int] | None = None,
        generator: torch.Generator | None = None,
        drop_last: bool = False,
    ) -> None:
        if not tensors or any(not isinstance(t, Tensor) for t in tensors):
            raise TypeError(f"`TensorLoader` got {[type(t).__name__ for t in tensors]}. Give one or more tensors.")
        if len({t.shape[:1] for t in tensors}) > 1 or tensors[0].ndim == 0 or len({t.device for t in tensors}) > 1:
            kinds = [f"{tuple(t.shape)} on {t.device}" for t in tensors]
            raise ValueError(f"`TensorLoader` got tensors of {kinds}. Give the same first dimension and one device.")
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise ValueError(f"`batch_size` got {batch_size!r}. Give an integer of at least 1.")
        if shuffle and sampler is not None:
            raise ValueError("`shuffle=True` and `sampler` both give an order. Leave one of them out.")
        self.dataset = TensorDataset(*tensors)
        self.batch_size, self.shuffle, self.drop_last = batch_size, shuffle, drop_last
        self.sampler, self.generator = sampler, generator
        self._loaded: dict[str, Any] | None = None
        self._current: Current[_Epoch] = Current()

    def __len__(self) -> int:
        samples = len(self.dataset) if self.sampler is None else len(self.sampler)  # type: ignore[arg-type]
        return samples // self.batch_size if self.drop_last else -(-samples // self.batch_size)

    def __iter__(self) -> Iterator[list[Tensor]]:
        loaded, self._loaded = self._loaded, None
        epoch = _Epoch(self, loaded)
        self._current.set(epoch)
        return epoch

    def reset(self) -> None:
        """Forget the position; the next iteration is a whole one."""
        self._loaded = None
        self._current.set(None)

    def state_dict(self) -> dict[str, Any]:
        """The order and the position in it while somebody iterates, and the state of `generator`."""
        epoch = self._current.get()
        position = self._loaded if epoch is None or epoch.over else epoch.position()
        generator = None if self.generator is None else self.generator.get_state()
        return {"length": len(self.dataset), "generator": generator, "position": position}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Let the next iteration give what was still to come, and draw what was still to be drawn."""
        if state_dict["length"] != len(self.dataset):
            raise ValueError(
                f"The state is of {state_dict['length']} samples, but there are {len(self.dataset)}. "
                "Resume with the data that it was saved with."
            )
        if self.generator is not None and state_dict["generator"] is not None:
            self.generator.set_state(state_dict["generator"])
        self._current.set(None)
        self._loaded = state_dict["position"]


class _Epoch:
    """One iteration; the moments of its draws are those of torch's DataLoader, RandomSampler and BatchSampler."""

    def __init__(self, loader: TensorLoader, loaded: dict[str, Any] | None) -> None:
        self.loader, self.tensors, self.batch_size = loader, loader.dataset.tensors, loader.batch_size
        self.start, self.samples, self.over, self.drained = 0, len(loader.dataset), False, False
        self.order: Tensor | None = None
        self.ordered = loader.shuffle or loader.sampler is not None
        if loaded is None:
            torch.empty((), dtype=torch.int64).random_(generator=loader.generator)  # would seed workers
        else:
            self.start, self.drained = loaded["start"], loaded["drained"]
            if loaded["order"] is not None:
                self._follow(loaded["order"])

    def __iter__(self) -> Iterator[list[Tensor]]:
        return self

    def __next__(self) -> list[Tensor]:
        if self.ordered and self.order is None:
            self._follow(self._drawn())
        start, stop = self.start, self.start + self.batch_size
        if stop > self.samples:
            self._drain()
            if start >= self.samples or self.loader.drop_last:
                self.over = True
                raise StopIteration
            stop = self.samples
        self.start = stop
        if self.order is None:
            return [t[start:stop] for t in self.tensors]
        chosen = self.order[start:stop]
        return [t.index_select(0, chosen) for t in self.tensors]

    def _follow(self, order: Tensor) -> None:
        self.order, self.samples = order.to(self.tensors[0].device, torch.int64), len(order)

    def _drawn(self) -> Tensor:
        if self.loader.sampler is not None:
            return torch.tensor(list(self.loader.sampler), dtype=torch.int64)
        generator = self.loader.generator
        if generator is None:
            seed = int(torch.empty((), dtype=torch.int64).random_().item())
            generator = torch.Generator().manual_seed(seed)
        return torch.randperm(self.samples, generator=generator)

    def _drain(self) -> None:
        """Torch's sampler draws one more order when it is asked for more samples than it has."""
        if not self.drained and self.loader.shuffle and self.loader.generator is not None:
            torch.randperm(self.samples, generator=self.loader.generator)
        self.drained = True

    def position(self) -> dict[str, Any]:
        order = None if self.order is None else self.order.cpu()
        return {"start": self.start, "order": order, "drained": self.drained}
