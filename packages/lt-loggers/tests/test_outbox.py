import os
import signal
import subprocess
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lt_loggers.outbox import Outbox


class BackEnd:
    """Takes batches; can be made to hang, to be away, or to refuse single items."""

    def __init__(self, refused=()):
        self.open, self.entered = threading.Event(), threading.Event()
        self.open.set()
        self.away, self.refused = False, refused
        self.got, self.batches, self.kept = [], [], []
        self.outbox = Outbox(self.deliver, self.kept.extend, lambda error: isinstance(error, OSError), max_items=20)

    def deliver(self, batch):
        self.entered.set()
        self.open.wait(60)
        if self.away:
            raise ConnectionError("nobody there")
        if any(item in self.refused for item in batch):
            raise ValueError("not this one")
        self.batches.append(list(batch))
        self.got += batch


def test_items_arrive_in_order_and_in_batches():
    end = BackEnd()
    for item in range(15):
        end.outbox.put(item)
    assert end.outbox.flush(30)
    assert end.got == list(range(15))
    assert len(end.batches) < 15
    end.outbox.close(30)


def test_a_back_end_that_hangs_holds_up_neither_putting_nor_closing():
    end = BackEnd()
    end.open.clear()
    end.outbox.put(0)
    assert end.outbox.flush(0) is False
    assert end.entered.wait(30)
    for item in range(1, 10):
        end.outbox.put(item)
    assert not end.outbox.flush(0.01)
    end.outbox.close(0.01)
    assert end.kept == list(range(10))
    end.open.set()


def test_what_hung_and_comes_back_does_not_disturb_what_was_opened_anew():
    end = BackEnd()
    end.open.clear()
    end.outbox.put("old")
    end.outbox.flush(0)
    assert end.entered.wait(30)
    end.outbox.close(0.01)
    end.outbox.put("new")
    end.open.set()
    assert end.outbox.flush(30)
    assert "new" in end.got
    assert end.kept == ["old"]
    end.outbox.close(30)


def test_memory_is_bounded_and_the_oldest_are_kept_elsewhere():
    end = BackEnd()
    end.open.clear()
    for item in range(100):
        end.outbox.put(item)
    assert len(end.outbox._items) <= 20
    end.outbox.close(0.01)
    end.open.set()
    assert sorted(end.kept) == list(range(100))
    assert end.outbox.take_count_of_kept() == 100
    assert end.outbox.take_count_of_kept() == 0


def test_a_back_end_that_is_away_gets_everything_when_it_is_back():
    end = BackEnd()
    end.away = True
    end.outbox.put("a")
    assert not end.outbox.flush(30)
    assert isinstance(end.outbox.first_error, ConnectionError)
    end.outbox.put("b")
    end.away = False
    end.outbox.close(30)
    assert end.got == ["a", "b"]
    assert end.kept == []


def test_a_back_end_that_stays_away_is_asked_once_more_at_the_end():
    end = BackEnd()
    end.away = True
    end.outbox.put("a")
    end.outbox.flush(30)
    end.outbox.close(30)
    assert end.kept == ["a"]


@given(st.sets(st.integers(0, 19)))
def test_what_is_refused_costs_nothing_else(refused):
    end = BackEnd(refused)
    for item in range(20):
        end.outbox.put(item)
    end.outbox.close(30)
    assert end.kept == sorted(refused)
    assert end.got == [item for item in range(20) if item not in refused]
    assert isinstance(end.outbox.first_error, ValueError) == bool(refused)


def test_nothing_starts_before_something_is_put_in_and_nothing_runs_after_closing():
    before = threading.active_count()
    end = BackEnd()
    assert threading.active_count() == before
    end.outbox.close(30)
    end.outbox.put(1)
    assert threading.active_count() == before + 1
    end.outbox.close(30)
    [thread.join(30) for thread in threading.enumerate() if thread.name == "lt-outbox"]
    assert threading.active_count() == before


def test_a_forked_child_neither_sends_nor_waits():
    end = BackEnd()
    end.open.clear()
    end.outbox.put("parent")
    child = os.fork()
    if not child:
        end.outbox.put("child")
        os._exit(0 if end.outbox.flush(60) and end.outbox.close(60) is None else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    end.open.set()
    end.outbox.close(30)
    assert end.got == ["parent"]


def test_a_handler_of_a_signal_may_put_while_something_is_put():
    end = BackEnd()
    old = signal.signal(signal.SIGUSR1, lambda *_: end.outbox.put("signal"))
    with end.outbox._changed:
        os.kill(os.getpid(), signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, old)
    end.outbox.close(30)
    assert end.got == ["signal"]


PROGRAM = """
import threading
from lt_loggers.outbox import Outbox
hang = threading.Event()
def deliver(batch):
    if {hangs}: hang.wait()
    print("sent", batch, flush=True)
outbox = Outbox(deliver, lambda items: print("kept", items, flush=True), lambda error: True)
outbox.close_at_exit(0.2 if {hangs} else 60)
outbox.put(1)
"""


@pytest.mark.parametrize(("hangs", "said"), [(False, "sent [1]\n"), (True, "kept [1]\n")])
def test_a_program_that_just_ends_sends_what_it_can_and_ends(hangs, said):
    code = PROGRAM.format(hangs=hangs)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == said
    assert done.stderr == ""
