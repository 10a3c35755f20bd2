"""A run that is asked to leave: one checkpoint, of one step, on all ranks; the same command line goes on from there."""

import os
import signal
import subprocess
import sys
import time

import lt_checkpoint
import pytest
import torch

PROGRAM = """
import os, sys, time
import lt as L
from lt.callbacks import ModelCheckpoint
from lt.demo import DigitClassifier, Digits

class Slow(L.Callback):
    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        with open(f"steps-{trainer.global_rank}", "a") as file:
            print(os.getpid(), trainer.global_step, file=file)
        time.sleep(float(os.environ.get("PAUSE", "0.05")))

if __name__ == "__main__":
    L.seed_everything(5)
    model = DigitClassifier(width=2)
    model.configure_callbacks = list
    devices = int(sys.argv[1])
    trainer = L.Trainer(
        max_epochs=3, accelerator="cpu", devices=devices, strategy="ddp" if devices > 1 else "auto", logger=False,
        enable_progress_bar=False, enable_model_summary=False, accumulate_grad_batches=2,
        callbacks=[Slow(), ModelCheckpoint(dirpath="kept", filename="{step}", save_top_k=-1)],
        default_root_dir=".",
    )
    trainer.fit(model, datamodule=Digits(), ckpt_path="auto" if "--auto" in sys.argv else None)
    trainer.save_checkpoint("final.ckpt")
"""


def start(folder, *args, launcher=(), **variables):
    (folder / "program.py").write_text(PROGRAM)
    return subprocess.Popen(
        [sys.executable, *launcher, "program.py", *args], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, env={**os.environ, **variables},
    )  # fmt: skip


def steps(folder, rank):
    """The process and the step of each batch that a rank has done, as written to its file."""
    path = folder / f"steps-{rank}"
    return [tuple(map(int, line.split())) for line in path.read_text().splitlines()] if path.exists() else []


def wait_for_step(process, folder, rank, number=3):
    """The process id of a rank once it is training."""
    while not steps(folder, rank) or steps(folder, rank)[-1][1] < number:
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.02)
    return steps(folder, rank)[-1][0]


def weights(path):
    return lt_checkpoint.load(path)["state_dict"]


def check_same(one, other):
    assert all(torch.equal(value, weights(other)[name]) for name, value in weights(one).items())


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The final checkpoints of runs that nobody disturbed, by number of processes."""
    finals = {}
    for devices in (1, 2):
        folder = tmp_path_factory.mktemp(f"uninterrupted-{devices}")
        process = start(folder, str(devices), PAUSE="0")
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output
        finals[devices] = folder / "final.ckpt"
    return finals


@pytest.mark.parametrize(("devices", "asked"), [(1, [0]), (2, [0]), (2, [1]), (2, [0, 1])])
def test_sigterm_to_any_rank_ends_all_at_one_step_that_is_saved(tmp_path, uninterrupted, devices, asked):
    process = start(tmp_path, str(devices), "--auto")
    for pid in [wait_for_step(process, tmp_path, rank) for rank in asked]:
        os.kill(pid, signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 143, output
    last = {steps(tmp_path, rank)[-1][1] for rank in range(devices)}
    (kept,) = (tmp_path / "kept").glob("*.ckpt")
    assert last == {lt_checkpoint.load(kept)["global_step"]}
    again = start(tmp_path, str(devices), "--auto", PAUSE="0")
    output, _ = again.communicate(timeout=120)
    assert again.returncode == 0, output
    check_same(tmp_path / "final.ckpt", uninterrupted[devices])


def test_torchrun_that_is_terminated_stops_all_ranks_at_one_step(tmp_path):
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    process = start(tmp_path, "2", launcher=torchrun)
    for rank in (0, 1):
        wait_for_step(process, tmp_path, rank)
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode != 0
    (kept,) = (tmp_path / "kept").glob("*.ckpt")
    assert {steps(tmp_path, rank)[-1][1] for rank in (0, 1)} == {lt_checkpoint.load(kept)["global_step"]}


def test_a_warning_of_slurm_saves_requeues_and_the_next_leg_goes_on(tmp_path, uninterrupted):
    scontrol = tmp_path / "scontrol"
    scontrol.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n')
    scontrol.chmod(0o755)
    job = {"SLURM_JOB_ID": "4711", "SLURM_NTASKS": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0",
           "SLURM_JOB_NAME": "train", "PATH": f"{tmp_path}:{os.environ['PATH']}"}  # fmt: skip
    for leg in (1, 2):
        process = start(tmp_path, "1", **job)
        os.kill(wait_for_step(process, tmp_path, 0, 10 * leg), signal.SIGUSR1)
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 143, output
        assert (tmp_path / f"hpc_ckpt_{leg}.ckpt").exists()
        assert (tmp_path / "asked").read_text().splitlines() == ["requeue 4711"] * leg
    last = start(tmp_path, "1", PAUSE="0", **job)
    output, _ = last.communicate(timeout=120)
    assert last.returncode == 0, output
    check_same(tmp_path / "final.ckpt", uninterrupted[1])
