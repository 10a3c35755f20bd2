"""A search on one machine or a whole Ray cluster: trials report and checkpoint, bad ones stop, lost ones go on.

Needs `pip install "ray[tune]"`. `ray.init()` joins the cluster that RAY_ADDRESS names, else it starts one here.
"""

import os
import tempfile
from pathlib import Path
from typing import Any

import lt as L
import ray
from lt.demo import DigitClassifier, Digits
from ray import tune
from ray.tune.schedulers import ASHAScheduler


class ReportToTune(L.Callback):
    """Hands each validation's metrics to Ray, with a checkpoint to go on from; Ray may end the trial here."""

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        if trainer.sanity_checking:
            return
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        with tempfile.TemporaryDirectory() as folder:
            trainer.save_checkpoint(Path(folder, "trial.ckpt"))
            tune.report(metrics, checkpoint=tune.Checkpoint.from_directory(folder))


def train(config: dict[str, Any]) -> None:
    """One trial, in a process of its own, on whichever machine has room."""
    L.seed_everything(1)
    trainer = L.Trainer(
        max_epochs=4,
        callbacks=[ReportToTune()],
        default_root_dir=os.getcwd(),
        enable_progress_bar=False,
        enable_model_summary=False,
        logger=False,
    )
    model, data = DigitClassifier(width=config["width"], lr=config["lr"]), Digits(batch_size=64)
    if (checkpoint := tune.get_checkpoint()) is None:
        trainer.fit(model, datamodule=data)
        return
    with checkpoint.as_directory() as folder:  # the trial was interrupted, or its machine was lost
        trainer.fit(model, datamodule=data, ckpt_path=Path(folder, "trial.ckpt"))


if __name__ == "__main__":
    ray.init(include_dashboard=False, log_to_driver=False)
    tuner = tune.Tuner(
        tune.with_resources(train, {"cpu": 1}),  # {"gpu": 1} gives each trial a GPU of its own
        param_space={"lr": tune.loguniform(1e-4, 1e-1), "width": tune.choice([4, 8])},
        tune_config=tune.TuneConfig(
            metric="val_loss", mode="min", num_samples=4, scheduler=ASHAScheduler(max_t=4, grace_period=1)
        ),
        run_config=tune.RunConfig(
            name="digits",
            storage_path=os.path.abspath("ray"),  # a folder that all machines see
            failure_config=tune.FailureConfig(max_failures=2),
            verbose=0,
        ),
    )
    best = tuner.fit().get_best_result()
    assert best.metrics is not None
    assert best.config is not None
    print(f"val_loss {best.metrics['val_loss']:.4f} with {best.config}, kept in {best.checkpoint}")
