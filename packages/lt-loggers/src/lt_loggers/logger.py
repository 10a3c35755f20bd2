"""What every logger is: names, paths and moments, each with a default that does nothing."""

from __future__ import annotations

import os
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, ClassVar, Self

from lt_interfaces import rank_zero_only

from lt_loggers.run_directory import RunDirectory


class DummyExperiment:
    """Takes any call, attribute or index and does nothing; the experiment of ranks other than zero."""

    def __getattr__(self, name: str) -> DummyExperiment:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __call__(self, *args: Any, **kwargs: Any) -> DummyExperiment:
        return self

    def __getitem__(self, index: Any) -> DummyExperiment:
        return self

    def __setitem__(self, index: Any, value: Any) -> None:
        pass

    def __iter__(self) -> Iterator[Any]:
        return iter(())


class Logger(ABC):
    """A sink for metrics and hyperparameters: two methods to write, the rest are moments to act on.

    A subclass that writes files sets `_run` and makes its back-end's writer in `_open`; others override `name`,
    `version` and the paths. Nothing may be written before something is logged or a path is asked for.
    """

    group_separator: ClassVar[str] = "/"
    """Between a group and a name in a metric's name."""

    _run: RunDirectory | None = None
    _experiment: Any = None

    def beside(self, other: Logger) -> Self:
        """This logger, writing into the run directory of another one."""
        self._run = other._run
        return self

    @property
    def name(self) -> str | None:
        """The experiment's name."""
        return self._run.name if self._run else None

    @property
    def version(self) -> int | str | None:
        """The run within the experiment; a free number is taken on rank zero when first asked for, else None."""
        return self._run.version if self._run else None

    @property
    def save_dir(self) -> str | None:
        """The folder of all experiments, as it was given."""
        return self._run.save_dir if self._run else None

    @property
    def root_dir(self) -> str | None:
        """The folder of this experiment."""
        return self._run.root_dir if self._run else None

    @property
    def log_dir(self) -> str | None:
        """The folder of this run; None where the version is not known."""
        return self._run.log_dir if self._run else None

    @property
    def experiment(self) -> Any:
        """The back-end's own object, made at first use; on ranks other than zero one that does nothing."""
        if self._experiment is None:
            self._experiment = rank_zero_only(self._open)() or DummyExperiment()
        return self._experiment

    def _open(self) -> Any:
        return None

    def __getstate__(self) -> dict[str, Any]:
        # The open writer stays behind: a copy in another process must not write the same rows again.
        return {**self.__dict__, "_experiment": None}

    @abstractmethod
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Write one record; without `step` it follows the last one."""

    @abstractmethod
    def log_hyperparams(self, params: Any) -> None:
        """Write the hyperparameters: a mapping, Namespace or dataclass."""

    def log_graph(self, model: Any, input_array: Any = None) -> None:
        """Write the model's graph, where the back-end can show one."""

    def save(self) -> None:
        """Hand over what is buffered; cheap enough to be called at every record."""

    def finalize(self, status: str) -> None:
        """Hand over everything and close; logging again opens anew. `status` is "success" or "failed"."""
        self.save()

    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        """A checkpoint was written; the callback knows its path."""


def close_with(logger: Logger, close: Callable[[], Any]) -> None:
    """Let `close` run when the logger goes or the program ends, for runs that never call `finalize`."""
    weakref.finalize(logger, _close, close, os.getpid())


def _close(close: Callable[[], Any], pid: int) -> None:
    # A forked child has a copy of what is buffered, and at the end of a program the folder may be gone.
    if os.getpid() == pid:
        with suppress(OSError):
            close()
