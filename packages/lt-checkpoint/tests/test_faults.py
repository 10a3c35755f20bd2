"""A save that is killed, or told `no space` or `I/O error`, at each of its system calls in turn."""

import os
import resource
import shutil
import subprocess
import sys

import pytest
import torch
from lt_checkpoint import load, save

PROGRAM = """
import os, re, shutil, signal, subprocess, sys
from collections import Counter
import torch
import torch.distributed as dist
from torch.distributed.tensor import DeviceMesh, Shard, distribute_tensor
from lt_checkpoint import AsyncCheckpointIO, last_good, load, newest, save, sharded

torch.set_num_threads(1)  # a child of a process whose threads are at work would wait for them
folder, kind, faults = sys.argv[1], sys.argv[2], sys.argv[3:]
CALLS = (
    "openat,write,writev,pwrite64,rename,renameat,renameat2,link,linkat,mkdir,mkdirat,fsync,fdatasync,unlink,unlinkat,"
    "rmdir,fchmod,ftruncate,flock"
)
if kind == "sharded":
    CALLS = CALLS.replace("openat,", "")  # torch opens hundreds of files of its own
old, new = {"global_step": 1, "w": torch.ones(60_000)}, {"global_step": 2, "w": torch.zeros(60_000)}


def join():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    return DeviceMesh("cpu", [0])


def spread(state, mesh):
    return {**state, "w": distribute_tensor(state["w"], mesh, [Shard(0)])}


def background(path):
    io = AsyncCheckpointIO()
    io.save_checkpoint(new, f"{folder}/step=2.ckpt")
    io.link_checkpoint(f"{folder}/step=2.ckpt", f"{folder}/last.ckpt")
    io.remove_checkpoint(f"{folder}/step=1.ckpt")
    io.flush()


path = f"{folder}/step=1.ckpt"
prepare, work = {
    "file": (lambda: None, lambda _: save(new, path)),
    "background": (lambda: None, background),
    "sharded": (join, lambda mesh: sharded.save(spread(new, mesh), path)),
}[kind]


def forked(task, stops=False):
    pid = os.fork()
    if pid:
        return pid
    try:
        given = prepare()
        if stops:
            os.kill(os.getpid(), signal.SIGSTOP)
        task(given)
        os._exit(0)
    except BaseException:
        os._exit(1)


def under_strace(inject, log):
    pid = forked(work, stops=True)
    os.waitpid(pid, os.WUNTRACED)
    command = ["strace", "-qq", "-f", "-p", str(pid), "-o", log, "-e", "trace=" + CALLS]
    tracer = subprocess.Popen(command + (["-e", "inject=" + inject] if inject else []), stderr=subprocess.PIPE)
    while "TracerPid:\\t0" in open(f"/proc/{pid}/status").read():
        if tracer.poll() is not None:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            print("forbidden")
            sys.exit()
    os.kill(pid, signal.SIGCONT)
    status = os.waitpid(pid, 0)[1]
    tracer.communicate()
    return status


def begin():
    shutil.rmtree(folder)
    os.mkdir(folder)
    start = (lambda mesh: sharded.save(spread(old, mesh), path)) if kind == "sharded" else (lambda _: save(old, path))
    assert os.waitpid(forked(start), 0)[1] == 0


def check(status, what):
    found, skipped = last_good(newest(folder))
    state = load(found)
    step = state["global_step"]
    assert not skipped and step in (1, 2) and state["w"].eq(2.0 - step).all(), (what, found, skipped)
    assert status != 0 or step == 2, (what, "said to have saved, and has not")
    assert os.waitpid(forked(work), 0)[1] == 0, what
    left = [name for _, _, names in os.walk(folder) for name in names if name.endswith(".tmp")]
    assert not left and load(newest(folder)[0])["global_step"] == 2, (what, left)


log = folder + ".log"
save(old, path), load(path)  # what they import is not to be counted
if kind == "sharded":
    os.unlink(path)
    sharded.save(spread(old, join()), path)
    dist.destroy_process_group()
begin()
assert under_strace(None, log) == 0
seen = Counter(re.findall(r"^\\d+ +(\\w+)\\(", open(log).read(), re.M))
planned = [f"{call}:{fault}:when={n}" for call, k in seen.items() for n in range(1, k + 1) for fault in faults]
fired = 0
for inject in planned:
    begin()
    status = under_strace(inject, log)
    fired += status == signal.SIGKILL or "(INJECTED)" in open(log).read()
    check(status, inject)
print("planned", len(planned), "fired", fired)
"""


def run(tmp_path, kind, *faults):
    folder = tmp_path / "run"
    folder.mkdir()
    command = [sys.executable, "-c", PROGRAM, str(folder), kind, *faults]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    if done.stdout == "forbidden\n":
        pytest.skip("strace may not attach here")
    _, planned, _, fired = done.stdout.split()
    return int(planned), int(fired)


needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")


@needs_strace
@pytest.mark.parametrize("fault", ["signal=KILL", "error=ENOSPC", "error=EIO"])
def test_a_fault_at_any_system_call_of_a_save_leaves_the_old_or_the_new_file(tmp_path, fault):
    planned, fired = run(tmp_path, "file", fault)
    assert planned == fired >= 10


@needs_strace
@pytest.mark.parametrize("fault", ["signal=KILL", "error=EIO"])
def test_a_fault_while_saving_in_the_background_linking_and_removing_leaves_a_good_file(tmp_path, fault):
    planned, fired = run(tmp_path, "background", fault)
    assert planned == fired >= 15


@needs_strace
@pytest.mark.parametrize("fault", ["signal=KILL", "error=ENOSPC"])
def test_a_fault_while_saving_shards_leaves_the_old_or_the_new_checkpoint(tmp_path, fault):
    planned, fired = run(tmp_path, "sharded", fault)
    assert planned == fired >= 15


def test_a_write_that_ends_short_anywhere_leaves_the_old_file(tmp_path):
    save({"step": 1}, tmp_path / "x.ckpt")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in range(0, 40_000, 1500):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
        try:
            with pytest.raises(OSError, match="too large"):
                save({"w": torch.zeros(10_000)}, tmp_path / "x.ckpt")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert load(tmp_path / "x.ckpt") == {"step": 1}
    assert os.listdir(tmp_path) == ["x.ckpt"]
