"""Pruning with Optuna itself and a study in SQLite."""

from types import SimpleNamespace

import pytest
import torch
from lt_callbacks import OptunaPruningCallback

optuna = pytest.importorskip("optuna")
optuna.logging.set_verbosity(optuna.logging.ERROR)


@pytest.fixture
def study(tmp_path):
    return optuna.create_study(
        storage=f"sqlite:///{tmp_path}/study.db", pruner=optuna.pruners.MedianPruner(n_startup_trials=1)
    )


class Trainer:
    """Validates once an epoch; nothing else of a trainer."""

    sanity_checking, is_global_zero, stage = False, True, "validate"
    check_val_every_n_epoch, val_check_interval, num_val_batches = 1, 1.0, [1]

    def __init__(self, losses, name="val_loss"):
        self.losses, self.name, self.callback_metrics = losses, name, {}
        self.current_epoch = self.global_step = 0
        self.engine = SimpleNamespace(broadcast=lambda obj: obj)

    def fit(self, callback):
        callback.setup(self, None, "fit")
        for self.current_epoch, loss in enumerate(self.losses):  # noqa: B020
            self.global_step += 10
            callback.on_validation_start(self, None)
            self.callback_metrics[self.name] = torch.tensor(loss)
            callback.on_validation_end(self, None)
            callback.on_train_epoch_end(self, None)
        callback.on_train_end(self, None)


def objective(losses):
    def run(trial):
        Trainer(losses).fit(OptunaPruningCallback(trial, "val_loss"))
        return losses[-1]

    return run


def test_a_trial_that_does_worse_is_pruned_and_the_storage_says_so(study):
    study.optimize(objective([1.0, 0.5, 0.2]), n_trials=1)
    study.optimize(objective([1.0, 0.8, 0.7]), n_trials=1)
    good, bad = optuna.load_study(study_name=study.study_name, storage=study._storage).trials
    assert good.state == optuna.trial.TrialState.COMPLETE
    assert good.intermediate_values == pytest.approx({0: 1.0, 1: 0.5, 2: 0.2})
    assert bad.state == optuna.trial.TrialState.PRUNED
    assert bad.intermediate_values == pytest.approx({0: 1.0, 1: 0.8})


def test_other_ranks_need_no_trial_and_prune_with_rank_zero():
    trainer = Trainer([1.0])
    trainer.is_global_zero = False
    trainer.engine.broadcast = lambda obj: obj if isinstance(obj, bool) else (True, 1.0)
    with pytest.raises(optuna.TrialPruned, match="Pruned at step 0: `val_loss` was 1"):
        trainer.fit(OptunaPruningCallback(None, "val_loss"))


def test_a_metric_that_nobody_logs_is_named_with_those_there_are(study):
    trial = study.ask()
    with pytest.raises(ValueError, match=r"monitors `valloss`, which was not logged.*Did you mean `val_loss`"):
        Trainer([1.0]).fit(OptunaPruningCallback(trial, "valloss"))


def test_several_objectives_and_what_is_no_trial_are_refused():
    trial = optuna.create_study(directions=["minimize", "maximize"]).ask()
    with pytest.raises(ValueError, match="several objectives"):
        Trainer([1.0]).fit(OptunaPruningCallback(trial, "val_loss"))
    with pytest.raises(TypeError, match="`trial` got 'val_loss'"):
        OptunaPruningCallback("val_loss", "val_loss")
