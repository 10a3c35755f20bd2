"""Wrong input through both doors, `lt.Trainer` and `lt-cli`: what is said, which status, what is left untouched."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import faulty
import lt as L
import lt_checkpoint
import lt_cli
import pytest
from lt_interfaces import CorruptCheckpoint
from programs import snapshot

USAGE, FAILED = 2, 1


@dataclass(frozen=True)
class Case:
    """One wrong thing, what both doors say to it, and how far it comes: `opens` the logs, `trains` a step."""

    says: str
    error: type[Exception] = ValueError
    trainer: dict[str, Any] = field(default_factory=dict)
    model: str = "Model"
    arguments: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    entry: str = "fit"
    ckpt_path: str | None = None
    status: int = FAILED
    opens: bool = False
    trains: bool = False

    def through_the_library(self) -> None:
        trainer = L.Trainer(**{"max_epochs": 1, **self.trainer})
        model = getattr(faulty, self.model)(**self.arguments)
        getattr(trainer, self.entry)(model, datamodule=faulty.Data(**self.data), ckpt_path=self.ckpt_path)

    def command_line(self) -> list[str]:
        options = {"max_epochs": 1, **self.trainer, "model": f"{faulty.__file__}:{self.model}"}
        options |= {f"model.{name}": value for name, value in self.arguments.items()}
        options |= {"data": f"{faulty.__file__}:Data", **{f"data.{name}": value for name, value in self.data.items()}}
        options |= {"ckpt_path": self.ckpt_path} if self.ckpt_path else {}
        return [self.entry, *(f"--{name}={value}" for name, value in options.items())]


def flag(name: str, value: Any, says: str, error: type[Exception] = ValueError) -> Case:
    return Case(says, error, {name: value}, status=USAGE)


def fault(name: str, says: str) -> Case:
    """Something that only the first step can show."""
    return Case(says, arguments={"fault": name}, opens=True)


def checkpoint(path: str, says: str, error: type[Exception] = CorruptCheckpoint, entry: str = "fit") -> Case:
    return Case(says, error, ckpt_path=path, entry=entry)


CASES = {
    "unknown flag": flag("max_epoch", 3, r"`-*max_epoch`\. Did you mean `-*max_epochs`\?", TypeError),
    "unknown class": flag("callbacks", "EarlyStoping", r"'EarlyStoping'.*Did you mean `EarlyStopping`\?"),
    "unknown logger": flag("logger", "csvv", r"'csvv'.*Did you mean `csv`\?"),
    "unknown accelerator": flag("accelerator", "gpuu", r"'gpuu'.*Did you mean `gpu`\?"),
    "unknown strategy": flag("strategy", "ddpp", r"'ddpp'.*Did you mean `ddp`\?"),
    "wrong type": flag("max_epochs", "three", r"`-*max_epochs`.*got 'three'", TypeError),
    "wrong value": flag("limit_train_batches", 1.5, r"`limit_train_batches` got 1\.5"),
    "flags that contradict": Case(
        "`barebones=True`.*Leave one", trainer={"barebones": True, "fast_dev_run": True}, status=USAGE
    ),
    "no training_step": Case(r"no `training_step`\. Define it", model="WithoutTraining"),
    "misspelt hook": Case("`AlmostAHook.on_train_epoch_ends`.*mean `on_train_epoch_end`", model="AlmostAHook"),
    "folder that cannot be written": Case(
        "`old/notes.txt/runs` cannot be written: .* Choose another",
        NotADirectoryError,
        {"default_root_dir": "old/notes.txt/runs"},
    ),
    "absent checkpoint": checkpoint("old/lost.ckpt", r"no checkpoint.*mean `last\.ckpt`\?", FileNotFoundError),
    "absent checkpoint to test": checkpoint("no/last.ckpt", "no folder `no`", FileNotFoundError, "test"),
    "truncated checkpoint": checkpoint("old/half.ckpt", r"`old/half\.ckpt`.*another checkpoint"),
    "truncated checkpoint to test": checkpoint("old/half.ckpt", r"`old/half\.ckpt`", entry="test"),
    "file that is no checkpoint": checkpoint("old/notes.txt", r"`old/notes\.txt`"),
    "folder that is no checkpoint": checkpoint("old", r"`old` is a folder .*Name", IsADirectoryError),
    "empty dataset": Case("training loader has no batches.*not empty", data={"size": 0}, opens=True),
    "empty dataset to test": Case("no batches.*not empty", data={"val_size": 0}, entry="test", opens=True),
    "loss that is a vector": fault("vector", r"loss of shape \(4, 1\).*`\.mean\(\)`"),
    "loss without a gradient": fault("detached", r"without a gradient.*`\.detach\(\)`"),
    "loss that is a string": fault("text", "returned a `str`.*Return the loss"),
    "loss that is missing": fault("nothing", "returned a `dict`.*under `loss`"),
    "monitor that was never logged": Case(
        r"monitors `val_los`, which was not logged.*Did you mean `val_loss`\?",
        RuntimeError,
        arguments={"monitor": "val_los"},
        opens=True,
        trains=True,
    ),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch) -> Path:
    """Where an earlier run left its files, one of them damaged since; the current directory."""
    monkeypatch.chdir(tmp_path)
    Path("old").mkdir()
    Path("old/notes.txt").write_text("no checkpoint\n")
    lt_checkpoint.save({"state_dict": faulty.Model().state_dict()}, "old/last.ckpt")
    whole = Path("old/last.ckpt").read_bytes()
    Path("old/half.ckpt").write_bytes(whole[: len(whole) // 2])
    run = Path("lightning_logs/version_0")
    (run / "checkpoints").mkdir(parents=True)
    for name in ("metrics.csv", "hparams.yaml", "checkpoints/last.ckpt", "checkpoints/epoch=0-step=2.ckpt"):
        (run / name).write_text("from an earlier run\n")
    return tmp_path


def check_message(case: Case, message: str) -> None:
    """A sentence of fact and a sentence of remedy, no more than a third, on one line."""
    sentences = re.split(r"(?<=[.?]) (?=[A-Z`])", message.strip())
    assert re.search(case.says, message), message
    assert 2 <= len(sentences) <= 3, message
    assert message.strip()[-1] in ".?", message
    assert "\n" not in message.strip()


def check_files(case: Case, before: dict[str, bytes | None], folder: Path) -> None:
    """Nothing that was there has changed, and nothing came of what should not have begun."""
    after = snapshot(folder)
    trained = after.pop("trained", "no") != "no"
    assert before.items() <= after.items()
    assert case.opens or after == before
    assert trained == case.trains


@every_case
def test_the_library_says_what_is_wrong_and_what_to_do(case: Case, folder: Path):
    before = snapshot(folder)
    with pytest.raises(case.error) as caught:
        case.through_the_library()
    check_message(case, str(caught.value))
    check_files(case, before, folder)


@every_case
def test_the_command_line_says_it_in_a_sentence_and_with_its_status(case: Case, folder: Path, capsys):
    before = snapshot(folder)
    with pytest.raises(SystemExit) as left:
        raise SystemExit(lt_cli.main(case.command_line()))
    complaint = capsys.readouterr().err.splitlines()[-1]
    assert left.value.code == case.status
    assert complaint.startswith(f"lt-cli {case.entry}: ")
    check_message(case, complaint.partition(": ")[2])
    check_files(case, before, folder)


def test_something_that_is_no_module_is_no_model(folder: Path):
    with pytest.raises(TypeError, match=r"got a `str` as the model\. Pass a `LightningModule`"):
        L.Trainer().fit("model")


def test_a_validation_loader_without_validation_step_stops_before_training(folder: Path):
    before, data = snapshot(folder), faulty.Data()
    with pytest.raises(ValueError, match=r"no `validation_step`\. Define it, or leave the loader out\."):
        L.Trainer().fit(faulty.WithoutValidation(), data.train_dataloader(), data.val_dataloader())
    assert snapshot(folder) == before


@pytest.mark.parametrize("word", ["best", "last"])
@pytest.mark.parametrize("command", ["validate", "test", "predict"])
def test_weights_that_were_never_trained_are_not_evaluated_by_mistake(command, word, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert lt_cli.main([command, "--ckpt_path", word]) == FAILED
    assert re.search(rf"`ckpt_path='{word}'` .* Fit first, or pass a path\.\n$", capsys.readouterr().err)
    assert list(tmp_path.iterdir()) == []


def test_a_class_that_does_not_exist_is_told_the_nearest_one(folder: Path, capsys):
    before = snapshot(folder)
    assert lt_cli.main(["fit", "--model", f"{faulty.__file__}:Modle"]) == USAGE
    assert "has no class `Modle`. Did you mean `Model`?" in capsys.readouterr().err
    assert snapshot(folder) == before
