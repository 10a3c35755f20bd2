"""Interrupts that wait for the end of the step: Ctrl-C and SIGTERM set a flag that the loop reads."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def deferred(stop: Callable[[BaseException], bool]) -> Iterator[None]:
    """Hand SIGINT and SIGTERM to `stop` as exceptions; a second one acts at once.

    Outside the main thread, where Python allows no handlers, signals stay as they are.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:
        reason = KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number)
        if not stop(reason):
            raise reason
        before = previous[number]
        if callable(before) and before is not signal.default_int_handler:
            before(number, frame)

    previous = {int(n): signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    for number in previous:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, before in previous.items():
            signal.signal(number, before)
