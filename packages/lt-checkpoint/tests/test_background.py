"""Saves in the background: in order, whole, heard of when they fail, and never the end of the last good file."""

import os
import pickle
import random
import signal
import subprocess
import sys
import time
from threading import Event, get_ident

import pytest
import torch
from lt_checkpoint import AsyncCheckpointIO, CheckpointIO, exists, last_good, load, newest, save

PROGRAM = """
import os, signal, sys, time, torch
from lt_checkpoint import AsyncCheckpointIO, CheckpointIO

signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background has it ignored

class Slow(CheckpointIO):
    def save_checkpoint(self, checkpoint, path, storage_options=None):
        print("started", flush=True)
        time.sleep(0.2)
        if "bad" in path:
            raise OSError("the disk is gone")
        super().save_checkpoint(checkpoint, path)

folder = sys.argv[1]
io = AsyncCheckpointIO(Slow())
"""


class Gated(CheckpointIO):
    """Saves when the gate is open; fails for paths that have `bad` in them."""

    def __init__(self):
        self.gate, self.started, self.threads = Event(), Event(), set()

    def save_checkpoint(self, checkpoint, path, storage_options=None):
        self.threads.add(get_ident())
        self.started.set()
        assert self.gate.wait(60)
        if "bad" in str(path):
            raise OSError(f"no space for {path}")
        super().save_checkpoint(checkpoint, path)


@pytest.fixture
def gated():
    io = Gated()
    yield io
    io.gate.set()


def program(code, folder):
    return subprocess.Popen([sys.executable, "-c", PROGRAM + code, str(folder)], stdout=-1, stderr=-1, text=True)


def test_the_file_holds_what_the_state_was_at_the_call(tmp_path, gated):
    io, state = AsyncCheckpointIO(gated), {"step": 1, "w": torch.ones(3), "list": [1]}
    io.save_checkpoint(state, tmp_path / "x.ckpt")
    state["w"].zero_()
    state["list"].append(2)
    state["step"] = 2
    assert not exists(tmp_path / "x.ckpt")
    gated.gate.set()
    io.flush()
    loaded = load(tmp_path / "x.ckpt")
    assert (loaded["step"], loaded["w"].tolist(), loaded["list"]) == (1, [1, 1, 1], [1])
    assert gated.threads.isdisjoint({get_ident()})


def test_the_file_is_the_same_byte_for_byte_as_that_of_a_blocking_save(tmp_path):
    weight = torch.randn(4, 6)
    state = {
        "a": weight,
        "b": weight.t()[1:3],
        "n": torch.randn(2).to_sparse(),
        "c": torch.randn(2, dtype=torch.cfloat),
    }
    state |= {"conj": state["c"].conj(), "empty": torch.empty(0), "half": torch.ones(3, dtype=torch.bfloat16)}
    io = AsyncCheckpointIO()
    save(state, tmp_path / "blocking.ckpt")
    io.save_checkpoint(state, tmp_path / "background.ckpt")
    io.flush()
    assert (tmp_path / "background.ckpt").read_bytes() == (tmp_path / "blocking.ckpt").read_bytes()


def test_two_saves_may_be_on_their_way_and_a_third_waits(tmp_path):
    returned, ahead = [], []

    class Noting(CheckpointIO):
        def save_checkpoint(self, checkpoint, path, storage_options=None):
            ahead.append(len(returned) - checkpoint["n"])
            time.sleep(0.01)

    io = AsyncCheckpointIO(Noting())
    for n in range(10):
        io.save_checkpoint({"n": n, "w": torch.ones(10)}, tmp_path / "x.ckpt")
        returned.append(n)
    io.flush()
    assert len(ahead) == 10
    assert max(ahead) <= 2


def test_memory_is_used_again_where_it_fits(tmp_path):
    kept = []

    class Keeping(CheckpointIO):
        def save_checkpoint(self, checkpoint, path, storage_options=None):
            kept.append(checkpoint["w"])

    io = AsyncCheckpointIO(Keeping())
    for n in range(6):
        io.save_checkpoint({"w": torch.full((1000,), float(n))}, tmp_path / "x.ckpt")
        io.flush()
    io.save_checkpoint({"w": torch.ones(7)}, tmp_path / "x.ckpt")
    io.flush()
    assert len({w.data_ptr() for w in kept[:6]}) == 1
    assert kept[6].tolist() == [1] * 7


def test_links_and_removals_follow_the_saves_and_existence_counts_what_is_on_its_way(tmp_path, gated):
    old, new, last = (tmp_path / name for name in ("old.ckpt", "new.ckpt", "last.ckpt"))
    save({"step": 1}, old)
    io = AsyncCheckpointIO(gated)
    io.save_checkpoint({"step": 2}, new)
    io.link_checkpoint(new, last)
    io.remove_checkpoint(old)
    assert [io.exists(path) for path in (old, new, last)] == [False, True, True]
    assert [exists(path) for path in (old, new, last)] == [True, False, False]
    gated.gate.set()
    assert io.load_checkpoint(last) == {"step": 2}
    assert [exists(path) for path in (old, new, last)] == [False, True, True]
    assert [io.exists(path) for path in (old, new, last)] == [False, True, True]


def test_after_a_failed_save_nothing_is_removed_and_the_next_call_raises(tmp_path, gated):
    save({"step": 1}, tmp_path / "old.ckpt")
    io, heard = AsyncCheckpointIO(gated), []
    io.on_error = heard.append
    io.save_checkpoint({"step": 2}, tmp_path / "bad.ckpt")
    io.link_checkpoint(tmp_path / "bad.ckpt", tmp_path / "last.ckpt")
    io.remove_checkpoint(tmp_path / "old.ckpt")
    gated.gate.set()
    with pytest.raises(OSError, match=r"no space for .*bad\.ckpt") as caught:
        io.flush()
    assert heard == [caught.value]
    assert os.listdir(tmp_path) == ["old.ckpt"]
    io.save_checkpoint({"step": 3}, tmp_path / "good.ckpt")
    io.flush()
    assert load(tmp_path / "good.ckpt") == {"step": 3}


@pytest.mark.parametrize("call", ["save_checkpoint", "remove_checkpoint", "link_checkpoint", "load_checkpoint"])
def test_each_next_call_raises_what_failed_and_does_nothing(tmp_path, gated, call):
    save({"step": 1}, tmp_path / "old.ckpt")
    io, failed = AsyncCheckpointIO(gated), Event()
    io.on_error = lambda error: failed.set()
    io.save_checkpoint({}, tmp_path / "bad.ckpt")
    gated.gate.set()
    assert failed.wait(60)
    more = {"save_checkpoint": [{}, "y"], "link_checkpoint": [tmp_path / "old.ckpt", tmp_path / "y"]}
    with pytest.raises(OSError, match="no space"):
        getattr(io, call)(*more.get(call, [tmp_path / "old.ckpt"]))
    assert os.listdir(tmp_path) == ["old.ckpt"]


def test_what_cannot_be_saved_is_said_at_once(tmp_path):
    io = AsyncCheckpointIO()
    with pytest.raises(TypeError, match=r"`checkpoint\['f'\]`, a `function`"):
        io.save_checkpoint({"f": lambda: 1}, tmp_path / "x.ckpt")
    with pytest.raises(TypeError, match="got `list`"):
        io.save_checkpoint([1], tmp_path / "x.ckpt")
    with pytest.raises(TypeError, match="got a `AsyncCheckpointIO`"):
        AsyncCheckpointIO(io)
    with pytest.raises(TypeError, match="takes no `storage_options`"):
        CheckpointIO().save_checkpoint({}, tmp_path / "x.ckpt", storage_options={"key": 1})


def test_it_can_be_pickled_and_used_after_its_teardown(tmp_path):
    io = AsyncCheckpointIO()
    io.save_checkpoint({"step": 1}, tmp_path / "a.ckpt")
    other = pickle.loads(pickle.dumps(io))
    assert load(tmp_path / "a.ckpt") == {"step": 1}
    other.teardown()
    other.save_checkpoint({"step": 2}, tmp_path / "b.ckpt")
    other.teardown()
    assert load(tmp_path / "b.ckpt") == {"step": 2}


@pytest.mark.parametrize("end", ["", "raise KeyboardInterrupt"])
def test_the_end_of_the_program_waits_for_the_file(tmp_path, end):
    code = "io.save_checkpoint({'step': 1}, folder + '/x.ckpt')\nio.save_checkpoint({'step': 2}, folder + '/y.ckpt')\n"
    program(code + end, tmp_path).communicate(timeout=60)
    assert (load(tmp_path / "x.ckpt"), load(tmp_path / "y.ckpt")) == ({"step": 1}, {"step": 2})


def test_ctrl_c_while_a_file_is_written_loses_nothing(tmp_path):
    process = program("io.save_checkpoint({'step': 1}, folder + '/x.ckpt')\ntime.sleep(60)", tmp_path)
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode != 0
    assert load(tmp_path / "x.ckpt") == {"step": 1}


def test_a_failure_that_no_call_hears_of_is_said_at_the_end(tmp_path):
    process = program("io.save_checkpoint({'step': 1}, folder + '/bad.ckpt')", tmp_path)
    assert process.communicate(timeout=60)[1] == "A checkpoint was not written: OSError: the disk is gone\n"


ROLLING = """
w = torch.ones(3_000_000)
io = AsyncCheckpointIO()
for step in range(1, 10_000):
    io.save_checkpoint({"global_step": step, "w": w}, f"{folder}/step={step}.ckpt")
    if step > 1:
        io.remove_checkpoint(f"{folder}/step={step - 1}.ckpt")
    print(step, flush=True)
"""


@pytest.mark.parametrize("seed", range(3))
def test_a_kill_while_only_the_newest_is_kept_leaves_a_good_file(tmp_path, seed):
    process = program(ROLLING, tmp_path)
    for _ in range(4):
        process.stdout.readline()
    time.sleep(random.Random(seed).uniform(0, 0.1))
    process.kill()
    process.communicate(timeout=60)
    path, skipped = last_good(newest(tmp_path))
    assert skipped == {}
    assert load(path)["global_step"] >= 1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_state_on_a_gpu_is_copied_to_pinned_memory_and_may_change_at_once(tmp_path):
    seen = []

    class Looking(CheckpointIO):
        def save_checkpoint(self, checkpoint, path, storage_options=None):
            seen.append(checkpoint["w"].is_pinned())
            super().save_checkpoint(checkpoint, path)

    io, weight = AsyncCheckpointIO(Looking()), torch.ones(10_000_000, device="cuda")
    for n in range(3):
        io.save_checkpoint({"w": weight, "part": weight[5:7]}, tmp_path / f"{n}.ckpt")
        weight += 1
    io.flush()
    assert seen == [True] * 3
    assert [load(tmp_path / f"{n}.ckpt")["w"].unique().tolist() for n in range(3)] == [[1.0], [2.0], [3.0]]
