"""Searches for settings with the real libraries: studies in SQLite, pruning on one process and on two."""

import json

import lt as L
import pytest
from lt.callbacks import OptunaPruningCallback
from lt.demo import DigitClassifier, Digits
from programs import EXAMPLES, python

optuna = pytest.importorskip("optuna")
PRUNED, COMPLETE = optuna.trial.TrialState.PRUNED, optuna.trial.TrialState.COMPLETE


def load(folder):
    return optuna.load_study(study_name="digits", storage=f"sqlite:///{folder}/study.db")


def test_the_example_finds_a_good_rate_prunes_bad_ones_and_goes_on_where_it_was(tmp_path):
    for _ in range(2):
        done = python(EXAMPLES / "optuna_study.py", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    study = load(tmp_path)
    states = [trial.state for trial in study.trials]
    assert len(states) == 16
    assert {PRUNED, COMPLETE} == set(states)
    assert study.best_params["lr"] > 1e-3
    assert all(len(t.intermediate_values) == 3 for t in study.trials if t.state == COMPLETE)
    assert all(len(t.intermediate_values) < 3 for t in study.trials if t.state == PRUNED)
    assert f"best of 16: val_loss {study.best_value:.4f}" in done.stdout


class Always(optuna.pruners.BasePruner):
    """Prunes from a step on."""

    def __init__(self, step):
        self.step = step

    def prune(self, study, trial):
        return trial.last_step is not None and trial.last_step >= self.step


@pytest.mark.parametrize(
    ("monitor", "options", "steps"),
    [
        ("val_loss", {}, [0, 1]),
        ("train_loss", {}, [0, 1]),
        ("val_loss", {"val_check_interval": 2}, [2, 4, 6]),
    ],
)
def test_values_are_reported_once_for_each_look_and_the_run_is_closed(tmp_path, monitor, options, steps):
    study = optuna.create_study(storage=f"sqlite:///{tmp_path}/study.db", pruner=Always(steps[-1]))
    trial = study.ask()
    trainer = L.Trainer(
        accelerator="cpu", max_epochs=5, limit_train_batches=4, limit_val_batches=1, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=tmp_path, callbacks=OptunaPruningCallback(trial, monitor),
        logger=False, **options,
    )  # fmt: skip
    with pytest.raises(optuna.TrialPruned, match=f"Pruned at step {steps[-1]}: `{monitor}` was"):
        trainer.fit(DigitClassifier(width=2), datamodule=Digits())
    study.tell(trial, state=PRUNED)
    [stored] = study.trials
    assert list(stored.intermediate_values) == steps
    assert trainer.interrupted


TOGETHER = """
import json, os, sys
import lt as L, optuna
from lt.callbacks import OptunaPruningCallback
from lt.demo import DigitClassifier, Digits

trainer = L.Trainer(accelerator="cpu", devices=2, strategy="ddp", max_epochs=4, limit_train_batches=2,
                    limit_val_batches=1, logger=False, enable_progress_bar=False, enable_model_summary=False)
trial = study = None
if trainer.is_global_zero:
    study = optuna.create_study(study_name="digits", storage="sqlite:///study.db",
                                pruner=optuna.pruners.ThresholdPruner(upper=0.0, n_warmup_steps=2))
    trial = study.ask()
trainer.callbacks.append(OptunaPruningCallback(trial, "val_loss"))
outcome = "finished"
try:
    trainer.fit(DigitClassifier(width=2), datamodule=Digits())
except optuna.TrialPruned as error:
    outcome = str(error)
    if study is not None:
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
open(f"rank{trainer.global_rank}.json", "w").write(json.dumps([outcome, trainer.current_epoch]))
"""


def test_two_processes_prune_together(tmp_path):
    (tmp_path / "together.py").write_text(TOGETHER)
    done = python("together.py", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    ranks = [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in range(2)]
    assert ranks[0] == ranks[1]
    assert ranks[0][0].startswith("Pruned at step 2: `val_loss` was")
    [trial] = load(tmp_path).trials
    assert (trial.state, list(trial.intermediate_values)) == (PRUNED, [0, 1, 2])


def test_the_example_for_many_machines_runs(tmp_path):
    pytest.importorskip("ray.tune", reason="Ray takes 285 MB: install `ray[tune]` to run its example")
    done = python(EXAMPLES / "ray_tune.py", cwd=tmp_path, RAY_USAGE_STATS_ENABLED="0", RAY_AUTH_MODE="disabled")
    assert done.returncode == 0, done.stderr
    assert "val_loss 0." in done.stdout
