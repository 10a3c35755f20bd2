import subprocess
from typing import Any

import pytest
from lt_cli import main


class Trainer:
    def __init__(self, max_epochs: int = 1) -> None:
        self.max_epochs = max_epochs

    def fit(self, model: Any) -> None:
        """Train."""

    validate = test = predict = fit


class Net:
    def __init__(self, hidden: int = 8) -> None:
        self.hidden = hidden


def test_config_prints_what_a_command_would_run_with(capsys):
    with pytest.raises(SystemExit) as left:
        main(["config", "--max_epochs", "3"], trainer_class=Trainer, model_class=Net)
    assert left.value.code == 0
    printed = "seed_everything: true\ntrainer:\n  max_epochs: 3\nmodel:\n  hidden: 8\n"
    assert capsys.readouterr().out.startswith(printed)


def test_config_takes_another_command(capsys):
    with pytest.raises(SystemExit):
        main(["config", "test", "--model.hidden", "2"], trainer_class=Trainer, model_class=Net)
    assert "hidden: 2" in capsys.readouterr().out


def test_a_report_needs_somebody_who_writes_it(capsys, monkeypatch):
    monkeypatch.setattr("sys.path", [])
    assert main(["report", "run"]) == 2
    assert "Run `pip install lt`." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "index", "offered"),
    [
        ("lt-cli rep", 1, ["report"]),
        ("lt-cli fit --max", 2, ["--max_epochs"]),
        ("lt-cli fit --model.", 2, ["--model.hidden"]),
    ],
)
def test_bash_completes_commands_and_options(capsys, words, index, offered):
    assert main(["completion", "bash"], trainer_class=Trainer, model_class=Net) == 0
    script = capsys.readouterr().out + f"COMP_WORDS=({words}); COMP_CWORD={index}; _lt_cli; echo ${{COMPREPLY[@]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == offered


def test_a_named_module_is_imported_and_trusted(shell, folder):
    text = "from project import Stop\nclass Sooner(Stop): pass\n"
    (folder / "extra.py").write_text(text)
    (folder / "train.yaml").write_text("trainer: {callbacks: [{class_path: extra.Sooner}]}\n")
    assert shell("fit", "--config", "train.yaml")[0] == 2
    assert shell("fit", "--import", "extra.py", "--config", "train.yaml")[0] == 0
    assert shell("fit", "--import", "extra", "--callbacks+=Sooner", "--callbacks.patience", "1")[0] == 0
    assert "`--import` needs a module." in shell("fit", "--import")[2]


def test_toml_is_a_config_too(shell, folder):
    (folder / "train.toml").write_text("[trainer]\nlimit_train_batches = 2\n")
    assert shell("fit", "--config", "train.toml")[1].startswith("fit 2 ")
    (folder / "train.toml").write_text("[trainer]\n\nmax_epoch = 2\n")
    assert "(train.toml:3). Did you mean `trainer.max_epochs`?" in shell("fit", "--config", "train.toml")[2]
    (folder / "train.toml").write_text("[trainer\n")
    assert "is not valid TOML" in shell("fit", "--config", "train.toml")[2]
