import os
import sys
import time
from pathlib import Path

import pytest
import torch
from lt_accel import Fabric

SCRIPT = """
import os, sys, time, torch
from lt_accel import Fabric
from torch.utils.data import DataLoader

mode = sys.argv[1]
fabric = Fabric(accelerator="cpu", devices="auto" if mode == "torchrun" else 2)
fabric.launch()
rank = fabric.global_rank
print(f"pid {os.getpid()}\\n", end="", flush=True)
if mode == "raise" and rank == 1:
    raise ValueError("the cause")
if mode == "exit" and rank == 1:
    sys.exit(3)
if mode == "kill" and rank == 0:
    os.kill(os.getpid(), 9)
if mode in ("exit", "kill"):
    time.sleep(100)
loader = fabric.setup_dataloaders(DataLoader(torch.arange(7), batch_size=2), even=False)
seen = [i for batch in loader for i in batch.tolist()]
fabric.teardown()
fabric.launch()
parts = fabric.all_gather({"seen": tuple(seen)} if mode == "raise" else torch.tensor(seen + [-1] * (4 - len(seen))))
fabric.print("order", [i for i in parts.t().flatten().tolist() if i >= 0], fabric.all_reduce(rank, "sum").item())
fabric.print("environment", os.environ["WORLD_SIZE"], torch.get_num_threads(), len(sys.argv))
"""


def pids(output):
    return [int(line.split()[1]) for line in output.splitlines() if line.startswith("pid")]


def is_running(pid):
    """True for a process that is neither gone nor waiting to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until_gone(processes):
    deadline = time.monotonic() + 10
    while any(is_running(pid) for pid in processes) and time.monotonic() < deadline:
        time.sleep(0.1)
    return [pid for pid in processes if is_running(pid)]


def test_a_script_runs_once_for_each_device_and_joins_again_after_teardown(run_script):
    done = run_script(SCRIPT, "ok")
    assert done.returncode == 0, done.stderr
    assert "order [0, 1, 2, 3, 4, 5, 6] 1\n" in done.stdout
    assert "environment 2 1 2\n" in done.stdout
    assert len(pids(done.stdout)) == 2


def test_when_a_rank_raises_all_end_and_its_traceback_is_last(run_script):
    done = run_script(SCRIPT, "raise", command=("-m",))
    assert done.returncode not in (0, None)
    assert done.stderr.rstrip().endswith("ValueError: the cause")
    assert "Rank 1 failed first:" in done.stderr
    assert wait_until_gone(pids(done.stdout)) == []


def test_when_a_rank_ends_badly_one_that_waits_is_stopped(run_script):
    done = run_script(SCRIPT, "exit")
    assert done.returncode == 1
    assert done.stderr.rstrip().endswith("Process of rank 1 ended with exit code 3.")
    assert wait_until_gone(pids(done.stdout)) == []


def test_when_the_first_process_is_killed_the_others_end(run_script):
    done = run_script(SCRIPT, "kill")
    assert done.returncode == -9
    assert wait_until_gone(pids(done.stdout)) == []


@pytest.mark.slow
def test_under_torchrun_nothing_is_started_twice(run_script):
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "3")
    done = run_script(SCRIPT.replace("fabric.print", "print"), "torchrun", command=torchrun)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("order") == len(pids(done.stdout)) == 3


SPAWN = """
import torch
from lt_accel import Fabric

def main(fabric, model):
    with torch.no_grad():
        model.weight += fabric.global_rank + 1
    return fabric.all_gather(model.weight).tolist()

if __name__ == "__main__":
    fabric = Fabric(accelerator="cpu", devices=2, strategy="ddp_spawn")
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(model.weight)
    print(fabric.launch(main, model), model.weight.item(), torch.distributed.is_initialized())
"""


def test_spawned_processes_share_no_memory_and_return_rank_zeros_result(run_script):
    done = run_script(SPAWN)
    assert done.stdout == "[[[1.0]], [[2.0]]] 0.0 False\n", done.stderr


def forked(function, *args, **kwargs):
    return Fabric(accelerator="cpu", devices=2, strategy="ddp_fork", **kwargs).launch(function, *args)


def test_a_function_runs_in_forked_processes_again_and_again():
    outside = []

    def main(fabric, x):
        outside.append(x)
        return fabric.all_reduce(x, "sum").item(), os.environ["RANK"]

    assert [forked(main, x) for x in (1, 2)] == [(2, "0"), (4, "0")]
    assert outside == []
    assert "RANK" not in os.environ


def test_the_first_failure_of_forked_processes_is_raised():
    def main(fabric):
        if fabric.global_rank == 0:
            raise ValueError("the cause")
        fabric.barrier()

    with pytest.raises(RuntimeError, match="Rank 0 failed first") as error:
        forked(main)
    assert str(error.value).rstrip().endswith("ValueError: the cause")


def test_a_killed_process_is_named():
    with pytest.raises(RuntimeError, match="rank 1 was ended by signal 9"):
        forked(lambda fabric: fabric.global_rank and os.kill(os.getpid(), 9))


def test_what_cannot_be_sent_or_is_missing_is_said_before_anything_starts():
    engine = Fabric(accelerator="cpu", devices=2, strategy="ddp_spawn")
    with pytest.raises(TypeError, match="ddp_fork"):
        engine.launch(lambda: None)
    with pytest.raises(TypeError, match="got none"):
        engine.launch()


@pytest.mark.gpu
def test_a_process_that_used_a_gpu_is_not_forked():
    torch.zeros(1, device="cuda")
    with pytest.raises(RuntimeError, match="cannot be forked"):
        Fabric(accelerator="gpu", devices=1, strategy="ddp_fork").launch(sys.exit)
