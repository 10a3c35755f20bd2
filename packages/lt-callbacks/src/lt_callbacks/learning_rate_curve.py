"""What a learning rate range test found: the loss at each rate, and the rate to take."""

from dataclasses import dataclass, field
from typing import Any

import torch
from lt_interfaces import rank_zero_warn


@dataclass
class LearningRateCurve:
    """Rates and the smoothed loss at each, as `results["lr"]` and `results["loss"]`."""

    mode: str
    lr_min: float
    lr_max: float
    num_training: int
    results: dict[str, list[float]] = field(default_factory=lambda: {"lr": [], "loss": []})

    def rate(self, step: int) -> float:
        """The rate of a step, from the least to the most in equal steps, or in equal factors if exponential."""
        share = min(step / max(1, self.num_training - 1), 1.0)
        if self.mode == "linear":
            return self.lr_min + share * (self.lr_max - self.lr_min)
        return float(self.lr_min * (self.lr_max / self.lr_min) ** share)

    def suggestion(self, skip_begin: int = 10, skip_end: int = 1) -> float | None:
        """The rate at which the plotted loss falls most steeply; None, with a warning, if there is none.

        Args:
            skip_begin: Points to leave out at the beginning, where the smoothed loss still moves at random.
            skip_end: Points to leave out at the end, where training is about to diverge.
        """
        index = self._steepest(skip_begin, skip_end)
        return None if index is None else self.results["lr"][index]

    def _steepest(self, skip_begin: int = 10, skip_end: int = 1) -> int | None:
        losses = torch.tensor(self.results["loss"], dtype=torch.float64)
        kept = torch.arange(len(losses))[skip_begin : len(losses) - skip_end]
        kept = kept[torch.isfinite(losses[kept])]
        if len(kept) < 2:
            rank_zero_warn(
                f"No learning rate can be suggested from {len(kept)} points: {len(losses)} were measured, of which the "
                f"first {skip_begin} and the last {skip_end} are skipped and those that are not finite do not count. "
                "Take more steps, or a lower greatest rate."
            )
            return None
        slopes = torch.gradient(losses[kept], spacing=(kept.double(),))[0]
        lowest = int(slopes.argmin())
        if slopes[lowest] >= 0:
            rank_zero_warn(
                f"No learning rate can be suggested: the loss fell at none of the {len(kept)} rates from "
                f"{self.results['lr'][int(kept[0])]:.3g} to {self.results['lr'][int(kept[-1])]:.3g}. "
                "Look at `plot()`; try other bounds."
            )
            return None
        return int(kept[lowest])

    def plot(self, suggest: bool = False, show: bool = False, ax: Any = None) -> Any:
        """The figure of loss over rate, with the suggestion as a red point if asked for."""
        try:
            import matplotlib.pyplot as plt
        except ImportError as error:
            raise ImportError(
                "`plot` needs matplotlib, which is not installed. `pip install lt-callbacks[plot]`."
            ) from error
        if ax is None:
            _, ax = plt.subplots()
        rates, losses = self.results["lr"], self.results["loss"]
        ax.plot(rates, losses)
        if self.mode == "exponential":
            ax.set_xscale("log")
        _show_the_valley(ax, losses)
        ax.set_xlabel("Learning rate")
        ax.set_ylabel("Loss (smoothed)")
        if suggest and (index := self._steepest()) is not None:
            ax.plot(
                rates[index], losses[index], "o", color="red", markersize=10, label=f"suggestion {rates[index]:.2g}"
            )
            ax.legend()
        if show:
            plt.show()
        return ax.figure


def _show_the_valley(ax: Any, losses: list[float]) -> None:
    """Leave room for where the loss falls: where it diverges at the end, it goes out of the picture."""
    lowest = min(range(len(losses)), key=losses.__getitem__, default=0)
    high = max(losses[: lowest + 1], default=0.0)
    if losses and high > losses[lowest]:
        span = high - losses[lowest]
        ax.set_ylim(losses[lowest] - span / 10, high + span / 2)
