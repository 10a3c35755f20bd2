"""How often each action ran and how long it took."""

from dataclasses import dataclass
from time import perf_counter
from typing import Any

from lt_loops.profilers.profiler import Call, Profiler


@dataclass(slots=True)
class Measured:
    """Calls of one action and the seconds they took together, other actions within them included."""

    calls: int = 0
    seconds: float = 0.0


class SimpleProfiler(Profiler):
    """Mean, number of calls, total and share of each action, by the clock of the process.

    On a GPU the clock sees kernels being queued, not run: `PyTorchProfiler` sees them run. Memory does not grow with
    the number of calls.

    Args:
        dirpath: Folder of the file; the trainer's `log_dir` by default.
        filename: Write the summary to a file instead of printing it.
        extended: False shows mean and total only.
    """

    def __init__(self, dirpath: Any = None, filename: str | None = None, extended: bool = True) -> None:
        super().__init__(dirpath, filename)
        self.extended = extended
        self.actions: dict[str, Measured] = {}
        self._running: dict[str, float] = {}
        self._since: float | None = None

    def start(self, action_name: str) -> None:
        """The action begins."""
        if action_name in self._running:
            raise ValueError(
                f"The action {action_name!r} was started while it was running. Stop it first, or give it another name."
            )
        self._running[action_name] = start = perf_counter()
        self._since = self._since or start

    def stop(self, action_name: str) -> None:
        """The action is over."""
        now = perf_counter()
        if action_name not in self._running:
            raise ValueError(
                f"The action {action_name!r} was stopped without having been started. Call `start` with the same name."
            )
        self._take(action_name, now - self._running.pop(action_name))

    def wrap(self, action_name: str, call: Call) -> Call:
        """The callable, measured whenever it is called; calls within calls are fine."""
        self._since = self._since or perf_counter()
        own = type(self)
        if own.start is not SimpleProfiler.start or own.stop is not SimpleProfiler.stop:
            return super().wrap(action_name, call)

        def measured(*args: Any, **kwargs: Any) -> Any:
            start = perf_counter()
            try:
                return call(*args, **kwargs)
            finally:
                self._take(action_name, perf_counter() - start)

        return measured

    def summary(self) -> str:
        """A line for each action, the longest first."""
        if not self.actions or self._since is None:
            return ""
        whole = perf_counter() - self._since
        lines = [
            f"Profile of {whole:.2f} s; actions within actions count in both.",
            f"{'Mean (s)':>10}  {'Total (s)':>10}" + f"  {'Calls':>9}  {'%':>5}" * self.extended + "  Action",
        ]
        for name, m in sorted(self.actions.items(), key=lambda item: -item[1].seconds):
            line = f"{m.seconds / m.calls:10.6f}  {m.seconds:10.4f}"
            lines.append(line + f"  {m.calls:9}  {100 * m.seconds / whole:5.1f}" * self.extended + f"  {name}")
        return "\n".join(lines)

    def reset(self) -> None:
        """Start counting anew."""
        self.actions, self._since = {}, None

    def _take(self, action_name: str, seconds: float) -> None:
        measured = self.actions.get(action_name)
        if measured is None:
            measured = self.actions[action_name] = Measured()
        measured.calls += 1
        measured.seconds += seconds
