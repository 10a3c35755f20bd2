"""A search over learning rate, width and dropout with Optuna: trials in SQLite, bad ones pruned early."""

import lt as L
import optuna
from lt.callbacks import OptunaPruningCallback
from lt.demo import DigitClassifier, Digits


def objective(trial: optuna.Trial) -> float:
    L.seed_everything(1)
    model = DigitClassifier(
        width=trial.suggest_categorical("width", [4, 8]),
        lr=trial.suggest_float("lr", 1e-4, 1e-1, log=True),
        dropout=trial.suggest_float("dropout", 0.0, 0.5),
    )
    trainer = L.Trainer(
        max_epochs=3,
        callbacks=[OptunaPruningCallback(trial, monitor="val_loss")],
        default_root_dir=f"trials/{trial.number}",
        enable_progress_bar=False,
        enable_model_summary=False,
        logger="csv",
    )
    trainer.fit(model, datamodule=Digits(batch_size=64))
    return float(trainer.callback_metrics["val_loss"])


study = optuna.create_study(
    study_name="digits",
    storage="sqlite:///study.db",  # run this again, or on several machines with another database, and the study goes on
    load_if_exists=True,
    sampler=optuna.samplers.TPESampler(seed=1),
    pruner=optuna.pruners.MedianPruner(n_startup_trials=3),
)
study.optimize(objective, n_trials=8)
print(f"best of {len(study.trials)}: val_loss {study.best_value:.4f} with {study.best_params}")
