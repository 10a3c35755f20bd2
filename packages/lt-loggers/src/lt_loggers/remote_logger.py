"""Loggers whose back-end is somewhere else: training hands over and goes on, whatever becomes of the back-end."""

from __future__ import annotations

import json
import threading
import time
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from lt_interfaces import rank_zero_only, rank_zero_warn

from lt_loggers.hparams import plain_hparams
from lt_loggers.logger import DummyExperiment, Logger
from lt_loggers.masking import without_secrets
from lt_loggers.metrics import Names, flat_numbers, printable
from lt_loggers.outbox import Outbox
from lt_loggers.run_directory import RunDirectory, StrPath

UNDELIVERED = "undelivered.jsonl"
MAX_CALLS = 200  # that wait at a time, since each may hold an image or more


class Record(NamedTuple):
    """Numbers of one step, and when they were logged, in seconds since 1970."""

    step: int
    metrics: dict[str, float]
    time: float


class Call(NamedTuple):
    """Something else to do with the back-end, in its turn."""

    what: str
    act: Callable[[Any], object]


class NotConnected(ConnectionError):
    """The back-end could not be opened; its own error is the cause."""


class RemoteLogger(Logger):
    """Base of loggers that talk to a server; all talk is on a thread of its own, in the order of logging.

    A subclass says how to `connect`, how to `send` records and hyperparameters, and may use `hand_over` for other
    calls. None of them is hurried: a slow, failing or absent back-end costs a training step nothing but the hand-over.
    What could not be delivered in the end is kept as lines of JSON in `log_dir/undelivered.jsonl`, and said once.
    """

    connect_seconds: ClassVar[float] = 30.0
    """How long `experiment` waits for the connection, once."""
    save_seconds: ClassVar[float] = 1.0
    """How long `save` waits at most; it never waits more than a hundredth of the time since the last one."""
    finish_seconds: ClassVar[float] = 30.0
    """How long `finalize` waits at most; a third of it where the run failed."""
    batch_size: ClassVar[int] = 500
    """How many records `send` gets at most."""

    _run: RunDirectory

    def __init__(
        self, save_dir: StrPath = ".", name: str | None = "lightning_logs", version: str | None = None, prefix: str = ""
    ) -> None:
        self._run = RunDirectory(save_dir, None, name, version, choose=self.choose_version)
        self._names = Names(prefix, printable)
        self._outbox: Outbox | None = None
        self._attempt = threading.Event()
        self._last_step, self._saved = -1, 0.0
        self._has_waited = self._has_told = False
        self._remarks: deque[str] = deque()

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_outbox": None, "_attempt": None, "_has_waited": False}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _attempt=threading.Event())

    @abstractmethod
    def connect(self) -> Any:
        """The back-end's own object, made when it is first needed; may take its time, and is tried again on errors."""

    @abstractmethod
    def send(self, experiment: Any, records: Sequence[Record]) -> None:
        """Send records, in this order."""

    @abstractmethod
    def send_hyperparams(self, experiment: Any, params: dict[str, Any]) -> None:
        """Send hyperparameters: a mapping of plain values, maybe nested, with secrets as `***`."""

    def end(self, experiment: Any, status: str) -> None:
        """Tell the back-end how the run ended; more may be logged after."""

    def is_away(self, error: Exception) -> bool:
        """Whether an error means that nobody answers, so that the same is sent again; others cost what made them."""
        return isinstance(error, OSError)

    def choose_version(self) -> int | str:
        """A version for a run that was given none; on rank zero, once."""
        return time.strftime("%Y%m%d-%H%M%S-") + f"{time.time_ns() % 10**6:06d}"

    def hand_over(self, what: str, act: Callable[[Any], object]) -> None:
        """Let `act(experiment)` be called after what was logged before; `what` names it where it fails."""
        call, outbox = Call(what, act), self._outbox
        if outbox and sum(isinstance(item, Call) for item in outbox.waiting()) >= MAX_CALLS:
            outbox.give_up([call])
        else:
            self._put(call)

    def say(self, message: str) -> None:
        """Warn with this, from the training thread, at its next call."""
        self._remarks.append(message)

    @property
    def experiment(self) -> Any:
        """The back-end's own object, waited for once; one that does nothing, as long as there is none."""
        self._wait_for_connection()
        return self._experiment or DummyExperiment()

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Hand over one record; a nested mapping becomes metrics `name/key`. Values are read now."""
        values = flat_numbers(metrics, self._names)
        if step is None:
            step = metrics.get("step", self._last_step + 1)
        self._last_step = step = int(step)
        self._put(Record(step, values, time.time()))

    @rank_zero_only
    def log_hyperparams(self, params: Any = None) -> None:
        """Hand over the hyperparameters."""
        plain = plain_hparams(params)
        self._put(Call("log_hyperparams", partial(self.send_hyperparams, params=plain)))

    def save(self) -> None:
        """Send now what waits, and give that a moment."""
        if self._outbox is not None:
            since = time.monotonic() - self._saved
            self._outbox.flush(min(self.save_seconds, since / 100))
            self._saved = time.monotonic()
            self._tell()

    def finalize(self, status: str) -> None:
        """Send everything, within a time limit; then say what was not delivered."""
        if self._outbox is None:
            return
        self._put(Call("finalize", partial(self.end, status=status)))
        self._outbox.close(self.finish_seconds if status == "success" else self.finish_seconds / 3)
        self._tell()
        if kept := self._outbox.take_count_of_kept():
            rank_zero_warn(
                f"`{type(self).__name__}` could not deliver {kept} records or calls. They are in "
                f"{str(self._undelivered())!r}."
            )

    def _put(self, item: Record | Call) -> None:
        outbox = self._outbox or rank_zero_only(self._opened)()
        if outbox is None:
            return
        outbox.put(item)
        if self._remarks or outbox.first_error is not None:
            self._tell()

    def _opened(self) -> Outbox:
        if self._outbox is None:
            self._outbox = Outbox(self._deliver, self._keep, self._is_away, self.batch_size)
            self._outbox.close_at_exit(self.finish_seconds)
        return self._outbox

    @rank_zero_only
    def _wait_for_connection(self) -> None:
        if self._experiment is None and not self._has_waited and not self._opened().is_here():
            self._has_waited = True
            self._put(Call("connect", _nothing))
            self._opened().flush(0)
            if not self._attempt.wait(self.connect_seconds):
                self.say(
                    f"`{type(self).__name__}` still waits for its back-end. Training begins, and records wait too."
                )
            self._tell()

    def _deliver(self, batch: list[Record | Call]) -> None:
        if self._experiment is None:
            self._connect()
        while batch:
            if records := [item for item in takewhile(_is_record, batch) if isinstance(item, Record)]:
                self.send(self._experiment, records)
                del batch[: len(records)]
            elif isinstance(call := batch[0], Call):
                call.act(self._experiment)
                del batch[0]

    def _connect(self) -> None:
        outbox = self._opened()
        try:
            self._experiment = self.connect()
        except Exception as error:
            failure = NotConnected(str(error))
            failure.__cause__ = error
            outbox.first_error = outbox.first_error or failure  # known before those go on who wait for this attempt
            raise failure from error
        finally:
            self._attempt.set()
        # Back-ends close themselves when the program ends; what still waits must be sent before that.
        outbox.close_at_exit(self.finish_seconds)

    def _is_away(self, error: Exception) -> bool:
        return isinstance(error, NotConnected) or self.is_away(error)

    def _tell(self) -> None:
        while self._remarks:
            rank_zero_warn(self._remarks.popleft())
        error = self._outbox.first_error if self._outbox else None
        if error is not None and not self._has_told:
            self._has_told = True
            cause = error.__cause__ if isinstance(error, NotConnected) and error.__cause__ else error
            what = "has no answer from its back-end" if self._is_away(error) else "could not send something"
            rank_zero_warn(
                f"`{type(self).__name__}` {what}: {type(cause).__name__}: {self.shown(cause)}. Training goes on; what "
                f"is not delivered by its end will be in {str(self._undelivered())!r}."
            )

    def shown(self, error: BaseException) -> str:
        """An error's text without secrets, in one line."""
        return without_secrets(printable(" ".join(str(error).split())))[:500].rstrip(". ")

    def _undelivered(self) -> Path:
        return Path(self.log_dir or self._run.save_dir) / UNDELIVERED

    def _keep(self, items: Sequence[Record | Call]) -> None:
        lines = []
        for item in items:
            if isinstance(item, Record):
                lines.append({"step": item.step, "time": item.time, "metrics": item.metrics})
            elif item.what == "log_hyperparams" and isinstance(item.act, partial):
                lines.append({"hyperparameters": item.act.keywords["params"]})
            elif item.what != "connect":
                lines.append({"call": item.what})
        with suppress(OSError):
            path = self._undelivered()
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "a", encoding="utf-8") as file:
                file.writelines(json.dumps(line, default=str) + "\n" for line in lines)


def _is_record(item: Record | Call) -> bool:
    return isinstance(item, Record)


def _nothing(experiment: Any) -> None:
    pass
