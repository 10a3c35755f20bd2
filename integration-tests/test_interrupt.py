"""Ctrl-C and SIGTERM: the step is finished, what was asked is saved, the status says what happened."""

import signal
import subprocess
import sys
import time

import lt_checkpoint
import pytest

PROGRAM = """
import sys, time
import lt as L
from lt.callbacks import ModelCheckpoint
from lt.demo import DigitClassifier, Digits

class Slow(L.Callback):
    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        if trainer.global_step == 3:
            print("ready", flush=True)
        time.sleep(0.05)

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        self.finished = trainer.global_step

slow = Slow()
model = DigitClassifier(width=2)
model.configure_callbacks = list
keep = ModelCheckpoint(dirpath="kept", save_on_exception=True)
trainer = L.Trainer(max_epochs=50, accelerator="cpu", logger=False, enable_progress_bar=False,
                    enable_model_summary=False, callbacks=[slow, keep])
try:
    trainer.fit(model, datamodule=Digits())
except KeyboardInterrupt:
    if "--goes-on" not in sys.argv:
        raise
    assert trainer.interrupted and slow.finished == trainer.global_step
    print(len(trainer.validate(model, datamodule=Digits(), verbose=False)), flush=True)
"""


def interrupted(tmp_path, number, *args):
    """Status, output and kept files of a run that got a signal in the middle of training."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *args],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
    )  # fmt: skip
    while process.stdout.readline().strip() != "ready":
        assert process.poll() is None, process.stderr.read()
    process.send_signal(number)
    output, errors = process.communicate(timeout=60)
    return process.returncode, output, errors, sorted((tmp_path / "kept").glob("*.ckpt"))


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, -signal.SIGINT), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_run_after_the_step_with_a_checkpoint_of_it(tmp_path, number, status):
    returned, _, errors, kept = interrupted(tmp_path, number)
    assert returned == status, errors
    assert lt_checkpoint.load(kept[-1])["global_step"] >= 4


def test_after_an_interrupt_the_trainer_can_still_be_used(tmp_path):
    status, output, errors, kept = interrupted(tmp_path, signal.SIGINT, "--goes-on")
    assert (status, output.strip()) == (0, "1"), errors
    assert kept


def test_the_command_line_says_130(tmp_path):
    command = "import sys; from lt_cli import main; sys.exit(main(sys.argv[1:]))"
    args = ["fit", "--max_epochs", "1000", "--model.patience", "1000", "--enable_progress_bar", "false"]
    process = subprocess.Popen(
        [sys.executable, "-c", command, *args],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    while not list(tmp_path.glob("lightning_logs/version_0/checkpoints/*.ckpt")):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
