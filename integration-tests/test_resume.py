"""A restart is a non-event: runs killed at random instants end bit for bit as runs in peace do."""

import os
import signal
import subprocess
import sys

import lt as L
import pytest
import torch
from killed_runs import TRIALS, Net, Samples
from lt.callbacks import ModelCheckpoint
from lt.testing.campaign import campaign
from torch.utils.data import DataLoader

KILLS = {
    "accumulation 3": 3,
    "validation mid-epoch, plateau": 3,
    "top-k, early stopping": 3,
    "torchmetrics": 3,
    "2 kept workers, augmentation": 3,
    "manual, 2 optimizers": 3,
    "fp16 scaler": 2,
}


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
@pytest.mark.parametrize("name", KILLS)
def test_a_killed_run_goes_on_bit_for_bit(tmp_path, name):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        tally = campaign(TRIALS[name], KILLS[name], tmp_path / "runs", seed=7)
    finally:
        torch.set_num_threads(threads)
    assert tally.kills == KILLS[name]
    assert (tally.differences, tally.unreadable, tally.lost) == ([], 0, 0)


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
def test_sigterm_at_any_moment_saves_and_goes_on_bit_for_bit(tmp_path):
    tally = campaign(TRIALS["torchmetrics"], 4, tmp_path / "runs", seed=7, by=signal.SIGTERM)
    assert (tally.differences, tally.unreadable, tally.lost) == ([], 0, 0)


class Counting(Samples):
    loaded = 0

    def __getitem__(self, index):
        Counting.loaded += 1
        return super().__getitem__(index)


def test_a_resume_late_in_the_epoch_loads_no_sample_from_before(tmp_path):
    def fit(max_steps, path=None):
        Counting.loaded = 0
        keep = ModelCheckpoint(tmp_path, filename="at", every_n_train_steps=900, save_top_k=-1)
        trainer = L.Trainer(
            max_steps=max_steps, accelerator="cpu", callbacks=[keep], logger=False, enable_progress_bar=False,
            enable_model_summary=False, default_root_dir=tmp_path,
        )  # fmt: skip
        trainer.fit(Net(), DataLoader(Counting(size=2000), 2, shuffle=True), ckpt_path=path)
        return Counting.loaded

    fit(900)
    assert fit(950, tmp_path / "at.ckpt") == 100


TWO_PROCESSES = """
import os, signal, sys, warnings
from pathlib import Path
warnings.simplefilter("ignore")
import lt as L
import torch
from killed_runs import Samples, WithMetrics
from lt.callbacks import ModelCheckpoint
from lt.testing.campaign import plain
from torch.utils.data import DataLoader

folder, die_at = Path(sys.argv[1]), int(sys.argv[2])

class Net(WithMetrics):
    def seen(self, batch, batch_idx):
        with open(folder / f"seen-{self.global_rank}", "a") as file:
            print(self.current_epoch, batch_idx, batch[0].tolist(), file=file)
        if self.trainer.global_step == die_at:
            os.kill(0, signal.SIGKILL)

L.seed_everything(1, verbose=False)
net = Net()
trainer = L.Trainer(
    max_epochs=3, accelerator="cpu", strategy="ddp", devices=2, accumulate_grad_batches=2, default_root_dir=folder,
    callbacks=[ModelCheckpoint(folder, every_n_train_steps=2, save_last=True)], logger=False, log_every_n_steps=1,
    enable_progress_bar=False, enable_model_summary=False, val_check_interval=3,
)
torch.manual_seed(5 + trainer.global_rank)
data = DataLoader(Samples(augmented=True), 4, shuffle=True), DataLoader(Samples(size=10), 4)
trainer.fit(net, *data, ckpt_path="last")
left = {"weights": net.state_dict(), "metrics": dict(trainer.callback_metrics), "generators": torch.get_rng_state(),
        "optimizer": trainer.optimizers[0].state_dict()}
torch.save(plain(left), folder / f"left-{trainer.global_rank}.pt")
"""


def two_processes(folder, die_at=-1):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(folder / "program.py"), str(folder), str(die_at)]
    (folder / "program.py").write_text(TWO_PROCESSES)
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=120, start_new_session=True, cwd=folder
    )


@pytest.mark.slow
def test_two_processes_go_on_bit_for_bit_each_with_its_own_generators(tmp_path):
    peace, killed = tmp_path / "peace", tmp_path / "killed"
    for folder in (peace, killed):
        folder.mkdir()
    assert two_processes(killed, die_at=5).returncode == -signal.SIGKILL
    for folder in (peace, killed):
        ended = two_processes(folder)
        assert ended.returncode == 0, ended.stderr[-3000:]
    generators: list[object] = []
    for rank in range(2):
        left = [torch.load(folder / f"left-{rank}.pt") for folder in (peace, killed)]
        assert left[0] == left[1]
        generators.append(left[0]["generators"])
        seen = [dict.fromkeys((folder / f"seen-{rank}").read_text().splitlines()) for folder in (peace, killed)]
        assert list(seen[0]) == list(seen[1])
    assert generators[0] != generators[1]
