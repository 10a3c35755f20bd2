"""Requests to stop that wait for the end of a step: Ctrl-C, SIGTERM, the warning of a cluster's scheduler."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from lt_interfaces import Stage

END_OF_STEP = (signal.SIGINT, signal.SIGTERM)


class StopRequests:
    """Sets `trainer.stop_signal`, which the loops raise where all ranks can stop; a second signal acts at once."""

    def __init__(self, trainer: Any) -> None:
        self._trainer = trainer
        self._agreement: Any = None
        self._signalled = False
        self._number = 0

    @contextmanager
    def heeded(self) -> Iterator[None]:
        """Outside the main thread, where Python allows no handlers, signals stay as they are."""
        trainer, engine = self._trainer, self._trainer.engine
        self._signalled, self._number = False, 0
        numbers = [*END_OF_STEP, *filter(None, [engine.requeue_signal])]
        if threading.current_thread() is not threading.main_thread():
            numbers = []
        self._agreement = engine.stop_together(self._hear) if trainer.fn == "fit" else None
        before = {int(number): signal.getsignal(number) for number in numbers}

        def handle(number: int, frame: FrameType | None) -> None:
            if self._signalled:
                raise self._reason(number)
            self._signalled = True
            self._hear(number)
            earlier = before[number]
            if callable(earlier) and earlier is not signal.default_int_handler:
                earlier(number, frame)

        for number in before:
            signal.signal(number, handle)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            if self._agreement is not None:
                self._agreement.close()
                self._agreement = None

    @property
    def wants_requeue(self) -> bool:
        """True if the scheduler gave warning and is to start the job again."""
        return self._number != 0 and self._number == self._trainer.engine.requeue_signal

    def are_due(self) -> bool:
        """Whether to stop here; with several ranks at the step that all of them stop at, and for a failure at once."""
        trainer = self._trainer
        if self._agreement is None or isinstance(trainer.stop_signal, Exception):
            return True
        if trainer.stage != Stage.TRAIN or trainer.progress.window:
            return False
        return bool(self._agreement.is_reached(trainer.progress.step, self._number))

    def check_at_end(self) -> None:
        """Training is over: a request that came too late for a step is raised on all ranks."""
        if self._agreement is None:
            return
        numbers = self._trainer.engine.all_gather(self._number).tolist()
        if any(numbers):
            self._hear(max(numbers))
            raise self._trainer.stop_signal

    def _hear(self, number: int) -> None:
        if self._trainer.stop_signal is None:
            self._number = number
            self._trainer.stop_signal = self._reason(number)

    def _reason(self, number: int) -> BaseException:
        if number == signal.SIGINT:
            return KeyboardInterrupt()
        return SystemExit(128 + (signal.SIGTERM if number == self._trainer.engine.requeue_signal else number))
