"""Where the time of a run goes: by action if there is a profiler, and by part at the price of a few clock reads."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain, islice
from time import perf_counter
from typing import Any

from lt_loops.profilers.profiler import PassThroughProfiler

Call = Callable[..., Any]


PARTS_OF_A_PROFILER = ("start", "stop", "profile", "wrap", "setup", "attach", "describe", "teardown")


_END = object()
TRAINING_DATA = "[_TrainingEpochLoop].train_dataloader_next"
PASSED_OVER, SAMPLED = 2, 16  # batches of an epoch: the first may wait for workers to start


def checked(profiler: Any) -> Any:
    """The profiler as given; one that measures nothing for None."""
    if profiler is None:
        return PassThroughProfiler()
    if missing := [name for name in PARTS_OF_A_PROFILER if not callable(getattr(profiler, name, None))]:
        raise TypeError(
            f"`profiler` got {profiler!r}, which has no `{missing[0]}`. "
            "Give a `SimpleProfiler()`, or an object of a class that inherits from `lt_loops.profilers.Profiler`."
        )
    return profiler


class Clock:
    """Wraps what is to be measured, once, at set-up. Without a profiler `measured` gives back what it got.

    `seconds` are those of each part, every second counted in one part only: a checkpoint that is written during
    validation is not validation.
    """

    def __init__(self, profiler: Any, engine: Any) -> None:
        self._profiler = None if isinstance(profiler, PassThroughProfiler) else profiler
        self._begun = False
        self._strategy = f"[Strategy]{type(getattr(engine, 'strategy', engine)).__name__}"
        self.seconds: dict[str, float] = {}
        self._inner = 0.0
        self._read_before = 0
        self._waited = self._watched = 0.0

    @property
    def is_profiling(self) -> bool:
        """True if there is a profiler."""
        return self._profiler is not None

    def begin(self, trainer: Any, fn: str) -> None:
        """Tell the profiler which entry point it is, and where files go."""
        self._read_before = _device_reads(trainer)
        if self._profiler is not None:
            self._begun = True
            self._profiler.say = trainer.print
            self._profiler.setup(fn, trainer.local_rank, trainer.log_dir)

    def attach(self, module: Any) -> None:
        """Show the profiler the module that is about to run."""
        if self._profiler is not None:
            self._profiler.attach(module)

    def end(self, fn: str) -> None:
        """Have the profiler say what it measured, also of a run that failed."""
        if self._profiler is None or not self._begun:
            return
        self._begun = False
        try:
            self._profiler.describe()
        finally:
            self._profiler.teardown(fn)

    def device_reads(self, trainer: Any) -> int:
        """How often metrics, and callbacks that count it in `device_reads`, have waited for numbers since `begin`."""
        return _device_reads(trainer) - self._read_before

    def measured(self, action: str, call: Call, part: str | None = None) -> Call:
        """The callable under the profiler's eyes, its time counted for a part; the same callable without a profiler."""
        if self._profiler is None:
            return call
        call = self._profiler.wrap(action, call)
        return call if part is None else self.timed(part, call)

    def strategy(self, name: str, call: Call) -> Call:
        """The same for what the engine does."""
        return self.measured(f"{self._strategy}.{name}", call)

    def module(self, module: Any, name: str, call: Call) -> Call:
        """The same for what the module may override."""
        return self.measured(f"[LightningModule]{type(module).__name__}.{name}", call)

    def validation(self, call: Call) -> Call:
        """The same for the validation loop within a fit, timed in any case."""
        return self.timed("validation", self.measured("run_validation", call))

    def batches(self, action: str, data: Iterator[Any]) -> Iterator[Any]:
        """The iterator, each fetch measured; without a profiler those of a few training batches of each epoch."""
        if self._profiler is not None:
            return _fetched(self.measured(action, partial(next, data, _END), "data"))
        return chain(islice(data, PASSED_OVER), self._sampled(data), data) if action == TRAINING_DATA else data

    @property
    def data_share(self) -> float | None:
        """How much of the time of the training batches that were watched was spent waiting for data."""
        return self._waited / self._watched if self._watched else None

    def _sampled(self, data: Iterator[Any]) -> Iterator[Any]:
        before = None
        for _ in range(SAMPLED):
            asked = perf_counter()
            batch = next(data, _END)
            got = perf_counter()
            if batch is _END:
                return
            if before is not None:  # from batch to batch: a step, then a wait
                self._waited += got - asked
                self._watched += got - before
            before = got
            yield batch

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


def _device_reads(trainer: Any) -> int:
    return sum(getattr(party, "device_reads", 0) for party in (trainer.recorder, *trainer.callbacks))


def _fetched(fetch: Call) -> Iterator[Any]:
    while (batch := fetch()) is not _END:
        yield batch
