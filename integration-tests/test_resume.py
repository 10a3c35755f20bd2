"""A restart is a non-event: runs killed at random instants end bit for bit as runs in peace do."""

import sys

import lt as L
import pytest
import torch
from kill_and_resume import campaign
from killed_runs import TRIALS, Net, Samples
from lt.callbacks import ModelCheckpoint
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
