"""The faults happen where they are told to, once, and what they hit is put back."""

import io
import os
import subprocess
import sys
from contextlib import suppress

import lt as L
import pytest
import torch
from lt.callbacks import ModelCheckpoint
from lt.testing import KilledAt, PoisonedBatch, RaisesIn, failing_files, full_disk
from lt_checkpoint import load, save, verify
from torch.utils.data import DataLoader, TensorDataset


class Model(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)
        self.losses = []

    def training_step(self, batch, batch_idx):
        loss = self.layer(batch[0]).pow(2).mean()
        self.losses.append(loss.detach())
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.0)


def fit(folder, *callbacks, ckpt_path=None, **flags):
    given = {"max_epochs": 2, "logger": False, "enable_progress_bar": False, "enable_model_summary": False, **flags}
    trainer = L.Trainer(accelerator="cpu", default_root_dir=folder, callbacks=list(callbacks), **given)
    model = Model()
    trainer.fit(model, DataLoader(TensorDataset(torch.ones(12, 4)), 4), ckpt_path=ckpt_path)
    return model


def test_one_batch_is_poisoned_and_the_data_is_not(tmp_path):
    losses = torch.stack(fit(tmp_path, PoisonedBatch(4, value=100.0)).losses)
    assert (losses != losses[0]).tolist() == [False, False, False, False, True, False]


def test_a_hook_raises_at_its_nth_call_and_what_was_saved_is_good(tmp_path):
    keep = ModelCheckpoint(tmp_path, every_n_train_steps=1, save_last=True)
    with pytest.raises(KeyError, match="third"):
        fit(tmp_path, keep, RaisesIn("on_train_batch_start", nth=3, error=KeyError("third")))
    assert load(tmp_path / "last.ckpt")["global_step"] == 2


def test_a_hook_that_does_not_exist_is_told_the_nearest():
    with pytest.raises(ValueError, match=r"no hook `on_train_batch_ends`\. Did you mean `on_train_batch_end`\?"):
        RaisesIn("on_train_batch_ends")


KILLED = """
import sys
sys.path.insert(0, sys.argv[2])
from lt.callbacks import ModelCheckpoint
from lt.testing import KilledAt
from test_testing_faults import fit
folder = sys.argv[1]
keep = ModelCheckpoint(folder, every_n_train_steps=1, save_last=True)
fit(folder, keep, KilledAt(4, once=folder + "/killed"), ckpt_path="last")
"""


@pytest.mark.slow
def test_a_run_kills_itself_once(tmp_path):
    command = [sys.executable, "-c", KILLED, str(tmp_path), os.path.dirname(__file__)]
    assert [subprocess.run(command, timeout=120).returncode for _ in range(2)] == [-9, 0]
    assert load(tmp_path / "last.ckpt")["global_step"] == 6


@pytest.mark.parametrize("call", ["open", "fsync", "replace"])
def test_every_failing_call_of_a_save_leaves_the_old_file(tmp_path, call):
    path = tmp_path / "state.ckpt"
    save({"step": 1}, path)
    nth, functions = 1, (os.open, os.fsync, os.replace)
    while True:
        with failing_files(tmp_path, call, nth) as calls:
            with suppress(OSError):
                save({"step": 2}, path)
            failed = calls() >= nth
        verify(path)
        if not failed:
            break
        nth += 1
    assert nth > 1
    assert load(path)["step"] == 2
    assert (os.open, os.fsync, os.replace) == functions


def test_files_elsewhere_do_not_fail(tmp_path):
    (tmp_path / "a").mkdir()
    with failing_files(tmp_path / "a", "open", forever=True) as calls:
        save({}, tmp_path / "b.ckpt")
        assert calls() == 0
        with pytest.raises(OSError, match="Input/output error"):
            save({}, tmp_path / "a" / "b.ckpt")


def test_an_unknown_call_is_told_the_nearest(tmp_path):
    with pytest.raises(ValueError, match=r"cannot be 'fsinc'\. Did you mean `fsync`\?"):
        with failing_files(tmp_path, "fsinc"):
            pass


def test_a_full_disk_leaves_the_old_file_and_no_other(tmp_path):
    path, before = tmp_path / "state.ckpt", (open, io.open)
    save({"w": torch.zeros(9)}, path)
    with full_disk(tmp_path, free_bytes=2000):
        (tmp_path / "note").write_text("fits")
        with pytest.raises(OSError, match="No space left"):
            save({"w": torch.ones(9000)}, path)
        with pytest.raises(OSError, match="No space left"):
            (tmp_path / "long").write_text("x" * 3000)
    assert load(path)["w"].sum() == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["long", "note", "state.ckpt"]
    assert (open, io.open) == before


def test_a_signal_may_ask_the_run_to_stop(tmp_path):
    import signal

    heard = []
    before = signal.signal(signal.SIGUSR2, lambda *_: heard.append(1))
    try:
        fit(tmp_path, KilledAt(2, by=signal.SIGUSR2))
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert heard == [1]
