"""What is on its way to a back-end over a network: taken at once, sent later, by a thread of its own."""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

GATHER_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 60.0


class Outbox:
    """Delivers items in their order and in batches, from a thread that starts with the first one.

    `deliver(batch)` may take its time and fail. While `is_away(error)` says that nobody answers, the batch is tried
    again, with pauses that grow; any other error costs the item that made it. `deliver` may take out of the batch what
    is done with. What cannot be delivered, or no longer fits into `max_items`, goes to `keep(items)`. A forked child
    has no outbox: what it puts in is dropped.
    """

    def __init__(
        self,
        deliver: Callable[[list[Any]], object],
        keep: Callable[[Sequence[Any]], object],
        is_away: Callable[[Exception], bool],
        batch_size: int = 500,
        max_items: int = 10_000,
    ) -> None:
        self._deliver, self._keep, self._is_away = deliver, keep, is_away
        self._batch_size, self._max_items = batch_size, max_items
        self._items: deque[Any] = deque()
        self._in_hand: list[Any] = []
        self._changed = threading.Condition()  # reentrant, so a signal's handler may log
        self._thread: threading.Thread | None = None
        self._pid: int | None = None
        self._is_idle = self._is_hurried = self._is_closing = False
        self._kept = 0
        self.trouble: Exception | None = None
        """The error of the last attempt, while it lasts."""
        self.first_error: Exception | None = None
        """The first error there was."""

    def put(self, item: Any) -> None:
        """Take one item; costs a few microseconds, whatever the back-end does."""
        if self._is_elsewhere():
            return
        with self._changed:
            self._items.append(item)
            if self._thread is None:
                self._start()
            elif self._is_idle or len(self._items) == self._batch_size:
                self._is_idle = False
                self._changed.notify_all()
            if len(self._items) > self._max_items:
                self.give_up([self._items.popleft() for _ in range(max(1, self._max_items // 10))])

    def flush(self, seconds: float) -> bool:
        """Send now, and wait this long at most; True if nothing is left. Nobody waits for one who is away."""
        if self._is_elsewhere():
            return True
        with self._changed:
            self._is_hurried = bool(self._items)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._is_empty() or self.trouble is not None, seconds)
            return self._is_empty()

    def close(self, seconds: float) -> None:
        """Send what there is within this time, and keep the rest; the next item opens it again."""
        if self._thread is None or self._is_elsewhere():
            return
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
            try:
                self._changed.wait_for(lambda: self._thread is None, seconds)
            finally:
                if self._thread is not None:  # it hangs; should it ever come back, it finds that it was replaced
                    self._thread = None
                    self._give_up_all()
                self._is_closing = False

    def waiting(self) -> tuple[Any, ...]:
        """What is in the queue at this moment."""
        with self._changed:
            return tuple(self._items)

    def take_count_of_kept(self) -> int:
        """How many items went to `keep` since this was last asked."""
        with self._changed:
            count, self._kept = self._kept, 0
        return count

    def is_here(self) -> bool:
        """Whether this is the sending thread itself."""
        return self._thread is threading.current_thread()

    def close_at_exit(self, seconds: float) -> None:
        """Close when the program ends; before everything that was registered earlier."""
        atexit.register(_close, weakref.ref(self), seconds)

    def _is_empty(self) -> bool:
        return not self._items and not self._in_hand

    def _start(self) -> None:
        self.trouble, self._pid = None, os.getpid()
        self._thread = threading.Thread(target=self._run, name="lt-outbox", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        pause = GATHER_SECONDS
        while self._take(pause):
            try:
                self._send(self._in_hand)
                pause, trouble = GATHER_SECONDS, None
            except Exception as error:
                pause, trouble = min(max(1.0, pause * 2), LONGEST_PAUSE_SECONDS), error
            with self._changed:
                if self._thread is not threading.current_thread():
                    return
                self.trouble = trouble
                self.first_error = self.first_error or trouble
                self._changed.notify_all()
                if trouble is not None and self._is_closing:
                    self._give_up_all()

    def _take(self, pause: float) -> bool:
        """Wait for something to do and take it in hand; False at the end."""
        with self._changed:
            if not self._is_empty() or not self._is_closing:
                self._wait(pause)
            if self._thread is not threading.current_thread():
                return False
            if self._is_empty():
                self._thread = None
                self._changed.notify_all()
                return False
            self._is_hurried = self._is_hurried and len(self._items) > self._batch_size
            if not self._in_hand:
                count = min(self._batch_size, len(self._items))
                self._in_hand = [self._items.popleft() for _ in range(count)]
            return True

    def _wait(self, pause: float) -> None:
        if self._is_empty():
            self._is_idle = True
            self._changed.wait_for(lambda: not self._is_empty() or self._is_closing)
            self._is_idle = False
        until = monotonic() + pause
        is_due = self._is_due_again if self.trouble else self._is_due
        self._changed.wait_for(is_due, until - monotonic())

    def _is_due(self) -> bool:
        return self._is_hurried or self._is_closing or len(self._items) >= self._batch_size

    def _is_due_again(self) -> bool:
        return self._is_closing

    def _send(self, batch: list[Any]) -> None:
        """Deliver, one by one where not all go at once; what is done with leaves the batch."""
        try:
            self._deliver(batch)
            batch.clear()
        except Exception as error:
            if self._is_away(error):
                raise
            self.first_error = self.first_error or error
            if len(batch) == 1:
                self.give_up([batch.pop()])
        while batch:
            first = batch[:1]
            self._send(first)
            batch.pop(0)

    def give_up(self, items: Sequence[Any]) -> None:
        """Keep these instead of sending them."""
        with self._changed:
            self._kept += len(items)
            self._keep(items)

    def _give_up_all(self) -> None:
        self.give_up([*self._in_hand, *self._items])
        self._items.clear()
        self._in_hand = []

    def _is_elsewhere(self) -> bool:
        return self._pid is not None and os.getpid() != self._pid


def _close(reference: weakref.ref[Outbox], seconds: float) -> None:
    outbox = reference()
    if outbox is not None:
        outbox.close(seconds)
