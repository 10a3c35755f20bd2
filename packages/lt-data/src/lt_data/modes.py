"""How batches of several loaders become one: an iterator for each mode of `CombinedLoader`."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from lt_data.passes import Pass
from lt_data.structure import fill

END = object()


class Combination:
    """One iteration over loaders side by side; a subclass says what happens where one of them ends."""

    length: ClassVar[Callable[..., int]]
    """Number of batches, out of those of the loaders."""

    def __init__(self, tree: Any, loaders: list[Any], limits: list[float], position: dict[str, Any] | None) -> None:
        self.tree, self.loaders, self.limits = tree, loaders, limits
        self.batch_idx = self.dataloader_idx = 0
        self.finished: set[int] = set()
        self.over = False
        self.passes: list[Any] = [None] * len(loaders)
        self._start(position or {})

    def _start(self, position: dict[str, Any]) -> None:
        self.batch_idx = position.get("batch_idx", 0)
        self.finished = set(position.get("finished", ()))
        places = position.get("passes", [None] * len(self.loaders))
        self.passes = [None if position and p is None else self._pass(i, p) for i, p in enumerate(places)]

    def _pass(self, index: int, position: dict[str, Any] | None = None) -> Pass:
        return Pass(self.loaders[index], self.limits[index], position)

    def __iter__(self) -> "Combination":
        return self

    def __next__(self) -> tuple[Any, int, int]:
        values = None if self.over or not self.passes else self._take()
        if values is None:
            self.close()
            raise StopIteration
        self.batch_idx += 1
        return fill(self.tree, iter(values)), self.batch_idx - 1, 0

    def _take(self) -> list[Any] | None:
        """The next batch of each loader, None where there is no more."""
        raise NotImplementedError

    def close(self) -> None:
        """End here and let go of the loaders' workers."""
        self.over = True
        self.passes = []

    def position(self) -> dict[str, Any]:
        """What it takes to continue from here, next to the states of the loaders."""
        return {
            "batch_idx": self.batch_idx,
            "dataloader_idx": self.dataloader_idx,
            "finished": sorted(self.finished),
            "passes": [p and p.position() for p in self.passes],
        }


class MinSize(Combination):
    """Until the shortest ends."""

    @staticmethod
    def length(lengths: Sequence[int]) -> int:
        return min(lengths, default=0)

    def _take(self) -> list[Any] | None:
        values = []
        for batches in self.passes:
            values.append(next(batches, END))
            if values[-1] is END:
                return None
        return values


class MaxSize(Combination):
    """Until the longest ends; None in place of those that ended before."""

    @staticmethod
    def length(lengths: Sequence[int]) -> int:
        return max(lengths, default=0)

    def _take(self) -> list[Any] | None:
        values: list[Any] = [None] * len(self.passes)
        for i, batches in enumerate(self.passes):
            if i not in self.finished:
                value = next(batches, END)
                if value is END:
                    self.finished.add(i)
                    self.passes[i] = None
                else:
                    values[i] = value
        return None if len(self.finished) == len(self.passes) else values


class MaxSizeCycle(Combination):
    """Until the longest ends; those that end before start again."""

    @staticmethod
    def length(lengths: Sequence[int]) -> int:
        for i, length in enumerate(lengths):
            if length == 0 < max(lengths):
                raise _nothing_to_repeat(i, len(lengths))
        return max(lengths, default=0)

    def _take(self) -> list[Any] | None:
        values: list[Any] = [next(batches, END) for batches in self.passes]
        ended = [i for i, value in enumerate(values) if value is END]
        self.finished.update(ended)
        if len(self.finished) == len(values):
            return None
        for i in ended:
            self.passes[i] = None  # its workers end before their successors start
            self.passes[i] = again = self._pass(i)
            values[i] = next(again, END)
            if values[i] is END:
                raise _nothing_to_repeat(i, len(values))
        return values


class Sequential(Combination):
    """One loader after another; only the one at work is alive."""

    @staticmethod
    def length(lengths: Sequence[int]) -> int:
        return sum(lengths)

    def _start(self, position: dict[str, Any]) -> None:
        self.batch_idx = position.get("batch_idx", 0)
        self.dataloader_idx = i = position.get("dataloader_idx", 0)
        if i < len(self.loaders):
            self.passes[i] = self._pass(i, position["passes"][i] if position else None)

    def __next__(self) -> tuple[Any, int, int]:
        while self.dataloader_idx < len(self.passes):
            batches = self.passes[self.dataloader_idx]
            value = next(batches, END)
            if value is not END:
                self.batch_idx += 1
                return value, self.batch_idx - 1, self.dataloader_idx
            self.passes[self.dataloader_idx] = batches = None
            self.dataloader_idx, self.batch_idx = self.dataloader_idx + 1, 0
            if self.dataloader_idx < len(self.passes):
                self.passes[self.dataloader_idx] = self._pass(self.dataloader_idx)
        self.close()
        raise StopIteration


def _nothing_to_repeat(index: int, count: int) -> ValueError:
    return ValueError(
        f"Loader {index} of {count} gives no batches, so `max_size_cycle` has nothing of it to repeat. "
        "Give it data and a limit of at least 1, use mode `max_size`, or wrap an iterator that can run only once."
    )


MODES: dict[str, type[Combination]] = {
    "min_size": MinSize,
    "max_size": MaxSize,
    "max_size_cycle": MaxSizeCycle,
    "sequential": Sequential,
}
