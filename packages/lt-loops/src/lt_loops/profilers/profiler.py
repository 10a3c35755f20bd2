"""What all profilers share: measuring a block or a call under a name, and where the summary goes."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lt_checkpoint

Call = Callable[..., Any]


class Profiler:
    """Measures actions by name. Subclasses write `start`, `stop` and `summary`; the rest follows from them.

    With a filename the summary is added to `<dirpath or log_dir>/<stage>-<filename>-<local rank>.txt`, one file for
    each process; without one, rank zero prints it.
    """

    say: Callable[..., Any] = staticmethod(print)
    """Where a summary without a file goes; a trainer puts its own `print` here."""

    def __init__(self, dirpath: Any = None, filename: str | None = None) -> None:
        self.dirpath, self.filename = dirpath, filename
        self.stage: str | None = None
        self.local_rank = 0
        self.log_dir: Any = None
        self._told = False

    def start(self, action_name: str) -> None:
        """The action begins."""
        raise NotImplementedError

    def stop(self, action_name: str) -> None:
        """The action is over."""
        raise NotImplementedError

    def summary(self) -> str:
        """What was measured, for people; empty if there is nothing to say."""
        raise NotImplementedError

    @contextmanager
    def profile(self, action_name: str) -> Iterator[str]:
        """Measure the block."""
        self.start(action_name)
        try:
            yield action_name
        finally:
            self.stop(action_name)

    def wrap(self, action_name: str, call: Call) -> Call:
        """The callable, measured whenever it is called. A trainer wraps its hooks and steps once, at set-up."""
        start, stop = self.start, self.stop

        def measured(*args: Any, **kwargs: Any) -> Any:
            start(action_name)
            try:
                return call(*args, **kwargs)
            finally:
                stop(action_name)

        return measured

    def setup(self, stage: str, local_rank: int | None = None, log_dir: Any = None) -> None:
        """An entry point begins: "fit", "validate", "test" or "predict"."""
        self.stage, self.local_rank, self.log_dir = stage, local_rank or 0, log_dir
        if self._told:
            self.reset()
            self._told = False

    def reset(self) -> None:
        """Forget what was measured; a new entry point starts so once the summary of the last one is out."""

    def attach(self, module: Any) -> None:
        """The module that is about to run, on its device."""

    def describe(self) -> None:
        """Write the summary to its file or print it."""
        self._told = True
        if not (text := self.summary()):
            return
        if self.filename is None:
            if self.local_rank == 0:
                self.say(text)
            return
        path = self.path(".txt")
        before = path.read_text(encoding="utf-8") if path.is_file() else ""
        lt_checkpoint.write_text(path, f"{before}{text}\n")

    def teardown(self, stage: str | None = None) -> None:
        """The entry point is over, also when it failed."""

    def path(self, ending: str) -> Path:
        """The file of this process for this stage that ends so."""
        parts = (self.stage, self.filename, str(self.local_rank))
        name = "-".join(part for part in parts if part) + ending
        return Path(os.fspath(self.dirpath or self.log_dir or ".")) / re.sub(r"[^\w.+\-\[\]]", "_", name)


class PassThroughProfiler(Profiler):
    """Measures nothing: what `trainer.profiler` is unless told otherwise. A trainer never calls it."""

    def start(self, action_name: str) -> None:
        """Do nothing."""

    def stop(self, action_name: str) -> None:
        """Do nothing."""

    def summary(self) -> str:
        """Nothing to say."""
        return ""
