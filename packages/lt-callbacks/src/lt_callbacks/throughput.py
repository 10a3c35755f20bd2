"""Rates over a window of counts."""

from collections import deque


class Throughput:
    """Batches, samples and operations per second over the last `window_size` updates, from running totals.

    With `available_flops`, the peak of one device, the share of it that is used is `device/mfu`. With several processes
    the rates of all together come along, taking each to be as fast as this one.
    """

    def __init__(
        self,
        available_flops: float | None = None,
        world_size: int = 1,
        window_size: int = 100,
        separator: str = "/",
    ) -> None:
        if window_size < 2 or world_size < 1:
            raise ValueError(
                f"`window_size={window_size}` and `world_size={world_size}` give no rate. Use at least 2 and 1."
            )
        self.available_flops = available_flops
        self.world_size = world_size
        self.separator = separator
        self._totals: deque[dict[str, float]] = deque(maxlen=window_size)
        self._flops = 0.0

    def update(
        self, *, time: float, batches: int, samples: int, lengths: int | None = None, flops: float | None = None
    ) -> None:
        """Take totals of this process since the start; `flops` alone is what was done since the last update."""
        now: dict[str, float] = {"time": time, "batches": batches, "samples": samples}
        if lengths is not None:
            now["lengths"] = lengths
        if flops is not None:
            self._flops += flops
            now["flops"] = self._flops
        last = self._totals[-1] if self._totals else {}
        for name, value in now.items():
            if name in last and (value <= last[name] if name == "time" else value < last[name]):
                raise ValueError(
                    f"`{name}` went from {last[name]} to {value}. Give totals since the start, which grow."
                )
        self._totals.append(now)

    def compute(self) -> dict[str, float]:
        """The totals, and the rates once there are two updates."""
        if not self._totals:
            return {}
        first, last = self._totals[0], self._totals[-1]
        metrics = {name: value for name, value in last.items() if name != "flops"}
        if len(self._totals) < 2:
            return metrics
        elapsed = last["time"] - first["time"]
        for total, rate in (("batches", "batches"), ("samples", "samples"), ("lengths", "items"), ("flops", "flops")):
            if total in first and total in last:
                per_second = (last[total] - first[total]) / elapsed
                metrics[f"device{self.separator}{rate}_per_sec"] = per_second
                if self.world_size > 1:
                    metrics[f"{rate}_per_sec"] = per_second * self.world_size
        flops = metrics.get(f"device{self.separator}flops_per_sec")
        if flops is not None and self.available_flops:
            metrics[f"device{self.separator}mfu"] = flops / self.available_flops
        return metrics

    def reset(self) -> None:
        """Begin anew."""
        self._totals.clear()
        self._flops = 0.0
