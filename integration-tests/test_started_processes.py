"""`ddp_spawn`, `ddp_fork`, `ddp_notebook`: the run is in processes of its own, and all it made comes back."""

import subprocess
import sys

import pytest

PROGRAM = """
import json, sys
import lt as L
from lt.callbacks import EarlyStopping
from lt.demo import DigitClassifier, Digits

if __name__ == "__main__":
    L.seed_everything(3)
    model = DigitClassifier(width=4)
    trainer = L.Trainer(max_epochs=2, accelerator="cpu", devices=2, strategy=sys.argv[1], profiler="simple")
    trainer.fit(model, datamodule=Digits())
    if trainer.is_global_zero:
        told = {
            "weights": sum(p.double().sum().item() for p in model.parameters()),
            "step": trainer.global_step,
            "epoch": trainer.current_epoch,
            "val_loss": trainer.callback_metrics["val_loss"].item(),
            "best": trainer.checkpoint_callback.best_model_path,
            "status": trainer.state.status,
        }
    rows = trainer.test(model, datamodule=Digits(), verbose=False)
    predictions = trainer.predict(model, datamodule=Digits())
    trainer.fit_loop.max_epochs = 3
    trainer.fit(model, datamodule=Digits())
    if trainer.is_global_zero:
        told |= {"test": rows, "predictions": sum(len(p) for p in predictions), "then": trainer.global_step}
        print("told", json.dumps(told))
"""


def told(folder, strategy):
    """What the program says of itself when all is done."""
    folder.mkdir()
    (folder / "program.py").write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, "program.py", strategy], cwd=folder, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("told")]
    return line


@pytest.mark.parametrize("strategy", ["ddp_spawn", "ddp_notebook"])
def test_everything_is_as_if_the_run_had_been_in_this_process(tmp_path, strategy):
    script, started = told(tmp_path / "ddp", "ddp"), told(tmp_path / strategy, strategy)
    assert started.replace(strategy, "ddp") == script
