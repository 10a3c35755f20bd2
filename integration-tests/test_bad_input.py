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
    """One wrong thing, and what both doors answer to it."""

    says: str
    error: type[Exception]
    status: int
    trainer: dict[str, Any] = field(default_factory=dict)
    model: str = "Model"
    arguments: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    entry: str = "fit"
    ckpt_path: str | None = None
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


CASES = {
    "unknown flag": Case(r"`-*max_epoch`\. Did you mean `-*max_epochs`\?", TypeError, USAGE, trainer={"max_epoch": 3}),
    "unknown class": Case(r"'EarlyStoping'.*Did you mean `EarlyStopping`\?", ValueError, USAGE, trainer={"callbacks": "EarlyStoping"}),
    "unknown logger": Case(r"'csvv'.*Did you mean `csv`\?", ValueError, USAGE, trainer={"logger": "csvv"}),
    "unknown accelerator": Case(r"'gpuu'.*Did you mean `gpu`\?", ValueError, USAGE, trainer={"accelerator": "gpuu"}),
    "wrong type": Case(r"`-*max_epochs`.*got 'three'", TypeError, USAGE, trainer={"max_epochs": "three"}),
    "wrong value": Case(r"`limit_train_batches` got 1\.5", ValueError, USAGE, trainer={"limit_train_batches": 1.5}),
    "flags that contradict": Case(r"`barebones=True`.*Leave one", ValueError, USAGE, trainer={"barebones": True, "fast_dev_run": True}),
    "empty dataset": Case(r"training loader has no batches.*not empty", ValueError, FAILED, data={"size": 0}, opens=True),
    "empty test dataset": Case(r"no batches.*not empty", ValueError, FAILED, data={"val_size": 0}, entry="test", opens=True),
    "loss that is a vector": Case(r"loss of shape \(4, 1\).*`\.mean\(\)`", ValueError, FAILED, arguments={"fault": "vector"}, opens=True),
    "loss without gradient": Case(r"without a gradient.*`\.detach\(\)`", ValueError, FAILED, arguments={"fault": "detached"}, opens=True),
    "loss that is a string": Case(r"returned a `str`.*Return the loss", ValueError, FAILED, arguments={"fault": "text"}, opens=True),
    "loss that is missing": Case(r"returned a `dict`.*under `loss`", ValueError, FAILED, arguments={"fault": "nothing"}, opens=True),
    "checkpoint that is absent": Case(r"no checkpoint `.*lost\.ckpt`\. Did you mean `last.ckpt`\?", FileNotFoundError, FAILED, ckpt_path="old/lost.ckpt"),
    "checkpoint to test that is absent": Case(r"no folder `nowhere`", FileNotFoundError, FAILED, ckpt_path="nowhere/last.ckpt", entry="test"),
    "checkpoint that is truncated": Case(r"`old/half\.ckpt`.*another checkpoint", CorruptCheckpoint, FAILED, ckpt_path="old/half.ckpt"),
    "checkpoint to test that is truncated": Case(r"`old/half\.ckpt`", CorruptCheckpoint, FAILED, ckpt_path="old/half.ckpt", entry="test"),
    "file that is no checkpoint": Case(r"`old/notes\.txt`", CorruptCheckpoint, FAILED, ckpt_path="old/notes.txt"),
    "folder in a checkpoint's place": Case(r"`old` is a folder\. Name", IsADirectoryError, FAILED, ckpt_path="old"),
    "folder that cannot be written": Case(r"old/notes\.txt.*default_root_dir", OSError, FAILED, trainer={"default_root_dir": "old/notes.txt/runs"}),
    "loader without validation_step": Case(r"no `validation_step`\. Define it", ValueError, FAILED, model="WithoutValidation"),
    "no training_step": Case(r"no `training_step`\. Define it", ValueError, FAILED, model="WithoutTraining"),
    "hook that is misspelt": Case(r"`AlmostAHook\.on_train_epoch_ends`.*Did you mean `on_train_epoch_end`\?", ValueError, FAILED, model="AlmostAHook"),
    "monitor that was never logged": Case(r"monitors `val_los`, which was not logged.*Did you mean `val_loss`\?", RuntimeError, FAILED, arguments={"monitor": "val_los"}, opens=True, trains=True),
}  # fmt: skip
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
    with pytest.raises(TypeError, match="got a `str` as the model. Pass a `LightningModule`"):
        L.Trainer().fit("model")


def test_a_class_that_does_not_exist_is_told_the_nearest_one(folder: Path, capsys):
    before = snapshot(folder)
    assert lt_cli.main(["fit", "--model", f"{faulty.__file__}:Modle"]) == USAGE
    assert "has no class `Modle`. Did you mean `Model`?" in capsys.readouterr().err
    assert snapshot(folder) == before
