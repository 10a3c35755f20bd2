"""Where the time of a run goes: by action if there is a profiler, and by part at the price of a few clock reads."""

from collections.abc import Callable
from time import perf_counter
from typing import Any

from lt_loops.profilers.profiler import PassThroughProfiler

Call = Callable[..., Any]


class Clock:
    """Wraps what is to be measured, once, at set-up. Without a profiler `measured` gives back what it got.

    `seconds` are those of each part, every second counted in one part only: a checkpoint that is written during
    validation is not validation.
    """

    def __init__(self, profiler: Any, engine: Any) -> None:
        self._wrap: Callable[[str, Call], Call] | None = (
            None if isinstance(profiler, PassThroughProfiler) else profiler.wrap
        )
        self._strategy = f"[Strategy]{type(getattr(engine, 'strategy', engine)).__name__}"
        self.seconds: dict[str, float] = {}
        self._inner = 0.0

    @property
    def is_profiling(self) -> bool:
        """True if there is a profiler."""
        return self._wrap is not None

    def measured(self, action: str, call: Call, part: str | None = None) -> Call:
        """The callable under the profiler's eyes, its time counted for a part; the same callable without a profiler."""
        if self._wrap is None:
            return call
        call = self._wrap(action, call)
        return call if part is None else self.timed(part, call)

    def strategy(self, name: str, call: Call) -> Call:
        """The same for what the engine does."""
        return self.measured(f"{self._strategy}.{name}", call)

    def module(self, module: Any, name: str, call: Call) -> Call:
        """The same for what the module may override."""
        return self.measured(f"[LightningModule]{type(module).__name__}.{name}", call)

    def hook(self, action: str, call: Call) -> Call:
        """The same for a hook."""
        return self.measured(action, call, "hooks")

    def timed(self, part: str, call: Call) -> Call:
        """The callable, its time counted for a part, with or without a profiler; never for what runs at every step."""

        def run(*args: Any, **kwargs: Any) -> Any:
            outer, self._inner = self._inner, 0.0
            start = perf_counter()
            try:
                return call(*args, **kwargs)
            finally:
                elapsed = perf_counter() - start
                self.seconds[part] = self.seconds.get(part, 0.0) + elapsed - self._inner
                self._inner = outer + elapsed

        return run
