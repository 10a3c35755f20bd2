"""`lt-cli tune` with a tuner that an installed package offers."""

from typing import Any

import pytest
from lt_cli import installed, main

TUNER = """
class Curve:
    def __init__(self, rate): self.rate = rate
    def suggestion(self): return self.rate

class Tuner:
    def __init__(self, trainer) -> None:
        self.trainer = trainer

    def lr_find(self, model, datamodule=None, method: str = "fit", attr_name: str = "", max_lr: float = 1.0):
        self.trainer.calls.append(("lr", max_lr))
        return Curve(None if max_lr < 0 else max_lr / 4)

    def scale_batch_size(self, model, datamodule=None, batch_arg_name: str = "batch_size", init_val: int = 2):
        self.trainer.calls.append(("size", init_val))
        if init_val > 100:
            raise ValueError(f"`init_val` is too large, {init_val}. Use less.")
        return 16 * init_val
"""


class Trainer:
    calls: list[Any] = []

    def __init__(self, max_epochs: int = 1) -> None:
        self.max_epochs = max_epochs


class Net:
    def __init__(self, hidden: int = 8, learning_rate: float = 0.1) -> None:
        self.hidden = hidden


class Data:
    def __init__(self, batch_size: int = 4) -> None:
        self.batch_size = batch_size


@pytest.fixture(autouse=True)
def tuner(tmp_path, monkeypatch):
    info = tmp_path / "lt-1.dist-info"  # by its name in the place of the real one, where that is installed
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lt\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[lt.cli]\ntuner = tuner_of_test_tune:Tuner\n")
    (tmp_path / "tuner_of_test_tune.py").write_text(TUNER)
    monkeypatch.syspath_prepend(str(tmp_path))
    Trainer.calls.clear()


def tune(*args: str) -> int:
    return main(["tune", *args], trainer_class=Trainer, model_class=Net, data_class=Data)


@pytest.mark.parametrize(
    ("args", "calls", "printed"),
    [
        ((), [("lr", 1.0)], "--model.learning_rate 0.25"),
        (("--find=batch_size", "--scale_batch_size.init_val=3"), [("size", 3)], "--data.batch_size 48"),
        (("--find", "both"), [("size", 2), ("lr", 1.0)], "--data.batch_size 32 --model.learning_rate 0.25"),
        (("--lr_find.attr_name=rate",), [("lr", 1.0)], "--model.learning_rate 0.25"),
    ],
)
def test_what_was_found_is_printed_as_options(capsys, args, calls, printed):
    assert tune(*args) == 0
    assert (Trainer.calls, capsys.readouterr().out) == (calls, f"{printed}\n")


@pytest.mark.parametrize(
    ("args", "status", "said"),
    [
        (("--lr_find.max_lr=-1",), 1, "No learning rate stands out. Try more steps with `--lr_find.num_training`."),
        (
            ("--find=batch_sise",),
            2,
            "takes 'lr' or 'batch_size' or 'both', got 'batch_sise'. Did you mean `batch_size`?",
        ),
        (("--lr_find.max_rl=1",), 2, "Did you mean `--lr_find.max_lr`?"),
    ],
)
def test_a_failure_is_told_with_its_status(capsys, args, status, said):
    try:
        found = tune(*args)
    except SystemExit as left:
        found = left.code
    assert (found, said in capsys.readouterr().err) == (status, True)


def test_without_a_tuner_it_says_what_to_install(capsys, tmp_path):
    (tmp_path / "lt-1.dist-info/entry_points.txt").write_text("[lt.cli]\n")
    installed._read.cache_clear()
    assert tune() == 2
    assert "No installed package tunes. Run `pip install lt`." in capsys.readouterr().err
    assert Trainer.calls == []
