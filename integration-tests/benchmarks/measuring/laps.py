"""The clock sits in the loader, so that every loop, whoever wrote it, is timed in the same place."""

from collections.abc import Callable, Iterator, Sequence
from time import process_time
from typing import Any


class Laps:
    """Batches from memory, over and over, in laps of `size`; notes the CPU time at the start of each lap."""

    def __init__(self, batches: Sequence[Any], size: int = 100, laps: int = 10) -> None:
        self.batches, self.size, self.laps = batches, size, laps
        self.clock: list[float] = []

    def __len__(self) -> int:
        return self.size * self.laps + 1  # a loop that counts never asks for the batch after the last

    def __iter__(self) -> Iterator[Any]:
        batches, n, clock = self.batches, len(self.batches), []
        for start in range(0, len(self) - 1, self.size):
            clock.append(process_time())
            for i in range(start, start + self.size):
                yield batches[i % n]
        clock.append(process_time())
        self.clock = clock
        yield batches[0]

    def microseconds(self) -> float:
        """CPU time of a step in the lower quartile of the laps: other processes only ever add to it."""
        laps = sorted(end - start for start, end in zip(self.clock, self.clock[1:], strict=False))
        return laps[len(laps) // 4] / self.size * 1e6


Loop = Callable[[Any], Any]


def interleaved(
    loops: dict[str, Loop], batches: Sequence[Any], repeats: int, sizes: dict[str, int]
) -> dict[str, list[float]]:
    """Microseconds per step of each loop, one figure per repeat; within a repeat the loops run one after another."""
    found: dict[str, list[float]] = {name: [] for name in loops}
    for _ in range(repeats):
        for name, loop in loops.items():
            laps = Laps(batches, sizes.get(name, 100))
            loop(laps)
            found[name].append(laps.microseconds())
    return found


def above(figures: dict[str, list[float]], name: str, base: str, per: int = 1) -> list[float]:
    """What one loop takes more than another, repeat by repeat, divided by `per`."""
    return [(a - b) / per for a, b in zip(figures[name], figures[base], strict=True)]
