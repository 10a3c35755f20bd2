import os
import socket
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from lt_accel import Fabric, process_group

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


def test_in_a_notebook_several_devices_are_forked_processes_and_rank_zeros_value_comes_back(monkeypatch):
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    for strategy in ("ddp_notebook", "auto"):
        engine = Fabric(accelerator="cpu", devices=2, strategy=strategy)
        assert engine.launch(lambda: (os.environ["RANK"], os.getpid() == os.getppid())) == ("0", False)
    with pytest.raises(ValueError, match="strategy='ddp_notebook'"):
        Fabric(accelerator="cpu", devices=2, strategy="ddp")


def test_no_rank_goes_on_before_all_have_connected(monkeypatch, tmp_path):
    connect = process_group.dist.init_process_group

    def slowly(*args, **kwargs):
        connect(*args, **kwargs)
        if os.environ["RANK"] == "0":
            time.sleep(0.5)
            (tmp_path / "connected").touch()

    monkeypatch.setattr(process_group.dist, "init_process_group", slowly)
    assert forked(lambda fabric: fabric.all_gather((tmp_path / "connected").exists()).tolist()) == [1, 1]


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


GATHER = """
import os, sys, time, torch
from datetime import timedelta
from pathlib import Path
from lt_accel import DDPStrategy, Fabric
from lt_accel.environments import KubeflowEnvironment

strategy = DDPStrategy()
strategy.assembly_timeout = timedelta(seconds=float(sys.argv[1]))
fabric = Fabric(
    accelerator="cpu", devices=int(sys.argv[2]), num_nodes=int(sys.argv[3]), strategy=strategy,
    plugins=[KubeflowEnvironment()] if len(sys.argv) > 4 else [],
)
print(f"pid {os.getpid()}\\n", end="", flush=True)
if "_LT_ACCEL_PARENT" not in os.environ:  # no rank's time runs out while another still imports
    Path(f"ready-{os.getpid()}").touch()
    while len(list(Path().glob("ready-*"))) < int(os.environ["STARTED"]):
        time.sleep(0.05)
fabric.launch()
fabric.print("met", fabric.all_reduce(1, "sum").item(), os.environ["MASTER_PORT"])
"""


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.fixture
def by_hand(tmp_path):
    """Starts ranks of a script by hand; returns for each its finished process."""

    def run(ranks, *args, port, **variables):
        (tmp_path / "script.py").write_text(GATHER)
        for file in tmp_path.glob("ready-*"):
            file.unlink()
        base = {
            "STARTED": str(len(ranks)),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "OMP_NUM_THREADS": "1",
            **variables,
        }
        started = [
            subprocess.Popen(
                [sys.executable, "script.py", *map(str, args)], cwd=tmp_path, env={**os.environ, **base, **place},
                text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )
            for place in ranks
        ]  # fmt: skip
        outputs = [process.communicate(timeout=120) for process in started]
        return [(p.returncode, *output) for p, output in zip(started, outputs, strict=True)]

    return run


def last(errors):
    return [line for line in errors.splitlines() if line.strip()][-1].split("]: ")[-1]


def test_a_world_that_does_not_assemble_says_on_each_rank_who_is_missing(by_hand):
    port = free_port()
    ranks = [{"LOCAL_RANK": str(rank)} for rank in (0, 2)]
    for status, output, errors in by_hand(ranks, 4, 4, 1, port=port):
        assert (status, output.count("met")) == (1, 0)
        assert f"2 of 4 ranks did not come to 127.0.0.1:{port}" in last(errors) or "ended while 4 ranks" in last(errors)
    assert "ranks 1, 3 are missing. Start them" in errors


def test_kubernetes_pods_meet_by_the_variables_of_a_pytorch_job(by_hand):
    places = [{"RANK": str(rank), "WORLD_SIZE": "2"} for rank in (0, 1)]
    port = free_port()
    ended = by_hand(places, 60, 1, 2, "kubeflow", port=port)
    assert [status for status, *_ in ended] == [0, 0], ended
    assert ended[0][1].rstrip().endswith(f"met 2 {port}")


def test_without_rank_zero_the_others_say_where_they_looked(by_hand):
    port = free_port()
    [(status, _, errors)] = by_hand([{"LOCAL_RANK": "1"}], 1, 2, 1, port=port)
    assert status == 1
    assert f"TimeoutError: Rank 0 is missing: nothing could be reached at 127.0.0.1:{port}" in last(errors)


def test_two_processes_of_one_rank_are_told(by_hand):
    ranks = [{"LOCAL_RANK": str(rank)} for rank in (0, 1, 1)]
    ended = by_hand(ranks, 4, 3, 1, port=free_port())
    assert [status for status, _, _ in ended] == [1, 1, 1]
    assert "rank 2 is missing, and rank 1 is twice there" in "".join(errors for _, _, errors in ended)


def test_processes_that_lt_started_end_when_another_machine_never_comes(by_hand):
    [(status, output, errors)] = by_hand([{"NODE_RANK": "0"}], 4, 2, 2, port=free_port())
    assert status == 1
    assert "2, 3 are missing" in errors
    assert wait_until_gone(pids(output)) == []


def test_a_port_that_is_taken_is_named_at_once_and_is_no_matter_where_lt_chooses_it(by_hand):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        [(status, _, errors)] = by_hand([{"LOCAL_RANK": "0"}], 1000, 2, 1, port=port)
        assert status == 1
        assert f"cannot listen on port {port}, which `MASTER_PORT` names: address already in use" in last(errors)
        [(status, output, errors)] = by_hand([{}], 60, 2, 1, port=port)
        assert status == 0, errors
        assert "met 2" in output
        assert not output.rstrip().endswith(str(port))


def test_a_rank_that_finds_another_program_at_the_port_says_so(monkeypatch):
    monkeypatch.setattr(process_group, "_ANSWER_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(RuntimeError, match=f"127.0.0.1:{port} is not rank 0 of this job"):
            process_group._open("127.0.0.1", port, timedelta(seconds=1))


MISMATCH = """
from datetime import timedelta
from lt_accel import DDPStrategy, Fabric

fabric = Fabric(accelerator="cpu", devices=2, strategy=DDPStrategy(timeout=timedelta(seconds=3)))
fabric.launch()
if fabric.global_rank == 0:
    fabric.barrier()
else:
    fabric.broadcast("word", src=1)
    fabric.all_reduce(1)
"""


def test_collectives_that_do_not_match_are_named_with_their_lines_when_time_is_up(run_script):
    done = run_script(MISMATCH)
    assert done.returncode == 1
    assert "rank 0: in `barrier`, called from" in done.stderr, done.stderr
    assert "script.py:8 in `<module>`" in done.stderr
    assert "rank 1: in" in done.stderr
    assert "TORCH_DISTRIBUTED_DEBUG=DETAIL" in done.stderr


def test_garbage_of_the_parent_does_not_hold_up_a_forked_process(run_script):
    done = run_script("""
import faulthandler, gc
from lt_accel import Fabric, process_group

def main(fabric):
    faulthandler.dump_traceback_later(20, exit=True)
    gc.collect()
    return fabric.world_size

gc.disable()
holder = [process_group.host_store()]
holder.append(holder)
del holder
print(Fabric(accelerator="cpu", devices=2, strategy="ddp_fork").launch(main))
""")
    assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr
