"""Faults in training: files that fail at any call, a full disk, a callback that raises. What is on disk stays good."""

import errno
import itertools
from contextlib import suppress

import lt as L
import lt_checkpoint
import pytest
import torch
from lt.callbacks import ModelCheckpoint
from lt.testing import RaisesIn, failing_files, full_disk
from lt.testing.campaign import noted
from lt.testing.kills import NotingTrainer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

STEPS = 4


class Net(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(3, 1)

    def training_step(self, batch, batch_idx):
        return self.net(batch[0]).pow(2).mean()

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), 0.01)


def fit(folder, *callbacks, ckpt_path=None, max_steps=STEPS):
    keep = ModelCheckpoint(folder, every_n_train_steps=1, save_last=True)
    trainer = NotingTrainer(
        max_steps=max_steps, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        callbacks=[keep, *callbacks], default_root_dir=folder,
    )  # fmt: skip
    trainer.fit(Net(), DataLoader(TensorDataset(torch.ones(40, 3)), 4), ckpt_path=ckpt_path)
    return trainer


def check_files(folder):
    """Every checkpoint is whole, the newest is that of the last save that returned, and training goes on from it."""
    steps = [lt_checkpoint.load(path)["global_step"] for path in folder.glob("*.ckpt")]
    assert max(steps, default=0) >= max([step for _, _, step in noted(folder, "saved")], default=0)
    if steps:
        assert fit(folder, ckpt_path="last", max_steps=STEPS + 1).global_step == STEPS + 1
    assert not list(folder.glob(".*.tmp"))


@pytest.mark.slow
@pytest.mark.parametrize("call", ["open", "fsync", "replace", "link", "unlink"])
@pytest.mark.filterwarnings("ignore")
def test_whichever_call_of_whichever_save_fails_the_last_good_checkpoint_stays(tmp_path, call):
    for nth in itertools.count(1, 3):  # every call of a save comes up in one save or another
        folder = tmp_path / str(nth)
        folder.mkdir()
        with failing_files(folder, call, nth, errno.ENOSPC) as calls, suppress(OSError):
            fit(folder)
        if calls() < nth:
            break
        check_files(folder)
    assert nth > 1


def test_a_disk_that_fills_up_ends_training_and_keeps_what_was_there(tmp_path):
    fit(tmp_path, max_steps=2)
    with full_disk(tmp_path, free_bytes=500):
        with pytest.raises(OSError, match="No space left"):
            fit(tmp_path, ckpt_path="last")
    check_files(tmp_path)


def test_a_callback_that_raises_is_the_error_that_is_seen_and_the_steps_before_are_on_disk(tmp_path):
    with pytest.raises(KeyError, match="mine"):
        fit(tmp_path, RaisesIn("on_train_batch_start", nth=3, error=KeyError("mine")))
    check_files(tmp_path)
