"""Which functions each action spends its time in, by Python's own profiler."""

import cProfile
import io
import marshal
import pstats
from typing import Any

import lt_checkpoint

from lt_loops.profilers.profiler import Profiler


class AdvancedProfiler(Profiler):
    """The functions behind each action, as `cProfile` counts them; slows Python down a good deal.

    Python has one profiler at a time, so an action rests while another one runs within it: its figures leave out what
    the inner one did.

    Args:
        dirpath: Folder of the files; the trainer's `log_dir` by default.
        filename: Write the summary to a file instead of printing it.
        line_count_restriction: Lines to show of each action: a number (int) or a share (float).
        dump_stats: Also write a `.prof` file for each action, for `pstats` and the viewers that read it.
    """

    def __init__(
        self,
        dirpath: Any = None,
        filename: str | None = None,
        line_count_restriction: int | float = 1.0,
        dump_stats: bool = False,
    ) -> None:
        super().__init__(dirpath, filename)
        self.line_count_restriction, self.dump_stats = line_count_restriction, dump_stats
        self.profiles: dict[str, cProfile.Profile] = {}
        self._running: list[str] = []

    def start(self, action_name: str) -> None:
        """The action begins; the one around it rests."""
        if self._running:
            self.profiles[self._running[-1]].disable()
        self._running.append(action_name)
        self.profiles.setdefault(action_name, cProfile.Profile()).enable()

    def stop(self, action_name: str) -> None:
        """The action is over; the one around it goes on."""
        if not self._running or self._running[-1] != action_name:
            inner = f"while {self._running[-1]!r} was running within it" if self._running else "without being started"
            raise ValueError(f"The action {action_name!r} was stopped {inner}. Stop actions in reverse order.")
        self.profiles[self._running.pop()].disable()
        if self._running:
            self.profiles[self._running[-1]].enable()

    def summary(self) -> str:
        """A table of functions for each action, by cumulated time."""
        if self._running:
            self.profiles[self._running[-1]].disable()
        parts = [self._table(name, profile) for name, profile in self.profiles.items()]
        if self._running:
            self.profiles[self._running[-1]].enable()
        return "\n".join(parts)

    def describe(self) -> None:
        """Write or print the summary, and write the `.prof` files if they were asked for."""
        super().describe()
        for name, profile in self.profiles.items() if self.dump_stats else ():
            profile.create_stats()
            with lt_checkpoint.atomic_write(self.path(f"-{name}.prof")) as file:
                marshal.dump(profile.stats, file)

    def reset(self) -> None:
        """Start counting anew, unless something is running."""
        if not self._running:
            self.profiles = {}

    def _table(self, action_name: str, profile: cProfile.Profile) -> str:
        if not profile.getstats():
            return f"Profile of {action_name}\nIt called no function.\n"
        text = io.StringIO()
        stats = pstats.Stats(profile, stream=text).strip_dirs().sort_stats("cumulative")
        stats.print_stats(self.line_count_restriction)
        return f"Profile of {action_name}\n{text.getvalue().rstrip()}\n"
