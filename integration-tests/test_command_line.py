"""The command line with the real trainer: callbacks, loggers and optimizers by name, configs that replay, reports."""

import re
from pathlib import Path
from typing import Any

import lt as L
import lt_checkpoint
import lt_cli
import pytest
import torch
from lt.callbacks import EarlyStopping, LearningRateMonitor
from lt.cli import LightningCLI
from lt.demo import DigitClassifier, Digits

SHORT = ("--max_epochs=1", "--limit_train_batches=2", "--limit_val_batches=1", "--accelerator=cpu")
QUIET = ("--enable_progress_bar=false", "--enable_model_summary=false")


class Plain(DigitClassifier):
    """The demo without callbacks of its own."""

    def configure_callbacks(self) -> list[Any]:
        return []


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def fit(*args: str) -> Path:
    """The newest run directory after a short run."""
    assert lt_cli.main(["fit", *SHORT, *QUIET, *args]) == 0
    return max(Path().glob("**/version_*"), key=lambda path: path.stat().st_mtime_ns)


def weights(run: Path) -> dict[str, torch.Tensor]:
    [path] = run.glob("checkpoints/last.ckpt")
    return lt_checkpoint.load(path)["state_dict"]


class Recording(LightningCLI):
    """Keeps itself, for a look at what was built."""

    def before_fit(self) -> None:
        self.optimizer = self.model.configure_optimizers()


def script(*args: str, model: Any = Plain, **options: Any) -> Recording:
    return Recording(model, Digits, args=["fit", *SHORT, *QUIET, *args], **options)


def test_callbacks_with_arguments_are_made_from_options():
    args = ("--callbacks+=EarlyStopping", "--callbacks.monitor=val_loss", "--callbacks.patience=9")
    found = script(*args, "--trainer.callbacks+=LearningRateMonitor").trainer.callbacks
    [stop] = [callback for callback in found if isinstance(callback, EarlyStopping)]
    assert (stop.monitor, stop.patience) == ("val_loss", 9)
    assert any(isinstance(callback, LearningRateMonitor) for callback in found)


@pytest.mark.parametrize("name", ["csv", "CSVLogger", "lt.loggers.CSVLogger"])
def test_a_logger_with_arguments_is_made_by_any_of_its_names(name):
    run = fit("--logger", name, "--logger.save_dir", "logs", "--logger.name", "mine")
    assert run == Path("logs/mine/version_0")
    assert (run / "metrics.csv").exists()


def test_class_path_and_init_args_in_a_file_do_the_same():
    Path("train.yaml").write_text(
        "trainer:\n  logger:\n    class_path: csv\n    init_args: {save_dir: logs}\n"
        "  callbacks:\n  - class_path: Timer\n    init_args: {duration: '00:00:10:00'}\n  - LearningRateMonitor\n"
    )
    trainer = script("--config", "train.yaml").trainer
    assert trainer.logger.save_dir == "logs"
    assert [type(callback).__name__ for callback in trainer.callbacks[:2]] == ["Timer", "LearningRateMonitor"]


def test_optimizer_and_scheduler_replace_the_modules():
    found = script("--optimizer=SGD", "--optimizer.lr=0.3", "--lr_scheduler=StepLR", "--lr_scheduler.step_size=1")
    assert type(found.trainer.optimizers[0]) is torch.optim.SGD
    assert found.trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.03)


def test_a_saved_config_replays_the_same_run():
    args = ("--seed_everything=5", "--optimizer=SGD", "--optimizer.lr=0.3", "--callbacks+=LearningRateMonitor")
    first = fit(*args, "--logger=csv", "--model.width=4", "--data.batch_size=16")
    assert lt_cli.main(["fit", "--config", str(first / "config.yaml")]) == 0
    second = first.with_name("version_1")
    assert (second / "config.yaml").read_text() == (first / "config.yaml").read_text()
    one, other = weights(first), weights(second)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_checkpoint_holds_the_settings():
    run = fit("--model.width=4")
    config = lt_checkpoint.load(run / "checkpoints/last.ckpt")["lt"]["config"]
    assert config["model"]["width"] == 4
    assert config["trainer"]["max_epochs"] == 1


@pytest.mark.filterwarnings("ignore:The scores of the checkpoints")
def test_the_hyperparameters_of_a_checkpoint_are_defaults_and_no_more():
    path = str(fit("--model.width=4", "--model.dropout=0.5") / "checkpoints/last.ckpt")
    assert lt_cli.main(["test", *QUIET, "--logger=false", "--ckpt_path", path]) == 0
    found = script("--ckpt_path", path, "--model.dropout", "0.125", model=DigitClassifier).model.hparams
    assert (found["width"], found["dropout"]) == (4, 0.125)


def test_a_resumed_run_in_its_old_folder_keeps_both_configs():
    args = ("--logger=CSVLogger", "--logger.save_dir=logs", "--logger.version=0", "--model.width=4")
    run = fit(*args)
    assert fit(*args, "--max_epochs=2", "--ckpt_path", str(run / "checkpoints/last.ckpt")) == run
    assert {path.name for path in run.glob("config*")} == {"config.yaml", "config_1.yaml"}


def test_no_config_is_written_in_a_dry_run_or_without_loggers(folder: Path):
    assert lt_cli.main(["fit", *QUIET, "--fast_dev_run"]) == 0
    assert lt_cli.main(["fit", *SHORT, *QUIET, "--logger=false"]) == 0
    assert list(folder.rglob("*.yaml")) == []


def test_report_writes_one_page_for_several_runs(capsys):
    runs = [str(fit("--logger=csv")) for _ in range(2)]
    capsys.readouterr()
    assert lt_cli.main(["report", *runs]) == 0
    assert Path(capsys.readouterr().out.strip()).read_text().startswith("<!DOCTYPE html>")
    assert lt_cli.main(["report", "nowhere"]) == 1
    assert "There is no `metrics.csv` in 'nowhere'." in capsys.readouterr().err


def test_the_trainers_environment_is_in_the_config(monkeypatch, capsys):
    monkeypatch.setenv("LT_TRAINER_MAX_EPOCHS", "7")
    with pytest.raises(SystemExit):
        lt_cli.main(["config", "test", "--precision", "bf16"])
    assert re.search(r"precision: bf16$.*^  max_epochs: 7$", capsys.readouterr().out, re.MULTILINE | re.DOTALL)


def test_a_script_without_a_model_class_takes_one_by_name():
    found = script("--model=DigitClassifier", "--model.width=4", model=None)
    assert (type(found.model), found.model.hparams["width"]) == (DigitClassifier, 4)
    assert isinstance(found.model, L.LightningModule)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--callbacks+=EarlyStopping", "--callbacks.monitr=x"], "no argument `monitr`. Did you mean `monitor`?"),
        (["--callbacks+=EarlyStoping", "--callbacks.monitor=x"], "Did you mean `EarlyStopping`?"),
        (["--logger=CSVLoger", "--logger.save_dir=x"], "knows no class `CSVLoger`. Did you mean `CSVLogger`?"),
        (["--logger.save_dir=x"], "Name the class first, with `--logger CLASS`."),
        (["--optimizer=Adam", "--optimizer.lrr=1"], "`Adam` has no argument `lrr`. Did you mean `lr`?"),
        (["--config=c.yaml"], "`EarlyStopping` has no argument `monitr` (c.yaml:2). Did you mean `monitor`?"),
    ],
)
def test_a_wrong_name_is_told_the_nearest(capsys, args, said):
    Path("c.yaml").write_text("trainer:\n  callbacks: {class_path: EarlyStopping, init_args: {monitr: x}}\n")
    with pytest.raises(SystemExit) as left:
        raise SystemExit(lt_cli.main(["fit", *args]))
    assert left.value.code == 2
    assert said in capsys.readouterr().err
