import json
import signal
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lt_cli import main

RUNS: list[dict[str, Any]] = []


class Trainer:
    """Records what it was given.

    Args:
        limit_train_batches: An int is a count.
    """

    seeds: list[Any] = []

    def __init__(
        self,
        accelerator: str = "auto",
        devices: list[int] | str | int = "auto",
        precision: str | int | None = None,
        max_epochs: int | None = None,
        max_time: Any = None,
        limit_train_batches: float | int | None = None,
        fast_dev_run: int | bool = False,
        **options: Any,
    ) -> None:
        self.flags = {name: value for name, value in locals().items() if name not in ("self", "options")}

    @staticmethod
    def seed_everything(seed: int | None = None, workers: bool = False) -> None:
        Trainer.seeds.append((seed, workers))

    def fit(self, model: Any, datamodule: Any = None, ckpt_path: str | None = None) -> None:
        """Train."""
        RUNS.append({**self.flags, "model": model, "data": datamodule, "ckpt_path": ckpt_path})

    def predict(
        self,
        model: Any,
        datamodule: Any = None,
        return_predictions: bool | None = None,
        ckpt_path: str | None = None,
    ) -> None:
        """Predict."""
        RUNS.append({**self.flags, "return_predictions": return_predictions, "ckpt_path": ckpt_path})


class Model:
    def __init__(self, hidden: int = 8, lr: float = 0.1) -> None:
        self.hidden, self.lr = hidden, lr


class ModelWithData:
    def train_dataloader(self) -> list[int]:
        return [1]


class Data:
    def __init__(self, batch_size: int = 32) -> None:
        self.batch_size = batch_size


def run(*args: str, **classes: type) -> dict[str, Any]:
    given_classes = {"trainer_class": Trainer, "model_class": Model, "data_class": Data, **classes}
    assert main(list(args), **given_classes) == 0
    return RUNS[-1]


def usage(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    try:
        status = main(list(args), trainer_class=Trainer, model_class=Model, data_class=Data)
    except SystemExit as error:
        status = error.code
    assert status == 2
    return capsys.readouterr().err


def test_fit_alone_trains_the_default_model_on_the_default_data():
    found = run("fit")
    assert (found["model"].hidden, found["data"].batch_size, found["ckpt_path"]) == (8, 32, None)


def test_trainer_flags_are_flat_dotted_or_hyphened():
    found = run("fit", "--accelerator", "gpu", "--trainer.devices", "2", "--max-epochs=3", "--precision", "16")
    assert (found["accelerator"], found["devices"], found["max_epochs"], found["precision"]) == ("gpu", 2, 3, 16)


def test_a_list_of_devices_stays_text():
    assert run("fit", "--devices", "0,2")["devices"] == "0,2"
    assert run("fit", "--devices", "-1")["devices"] == -1


def test_arguments_of_model_and_data_have_their_prefix():
    found = run("fit", "--model.hidden", "128", "--data.batch_size", "64")
    assert (found["model"].hidden, found["data"].batch_size) == (128, 64)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10**6), st.floats(0, 1))
def test_a_number_keeps_the_type_of_its_literal(count, fraction):
    as_count = run("fit", "--limit_train_batches", str(count))["limit_train_batches"]
    as_fraction = run("fit", "--limit_train_batches", str(fraction))["limit_train_batches"]
    assert (type(as_count), as_count) == (int, count)
    assert (type(as_fraction), as_fraction) == (float, fraction)


def test_a_duration_stays_text():
    assert run("fit", "--max_time", "10:12:00:00")["max_time"] == "10:12:00:00"


def test_a_bare_bool_flag_is_true_and_takes_a_count_too():
    assert run("fit", "--fast_dev_run")["fast_dev_run"] is True
    assert run("fit", "--fast_dev_run", "--max_epochs", "1")["fast_dev_run"] is True
    assert run("fit", "--fast_dev_run", "3")["fast_dev_run"] == 3


def test_every_command_passes_the_checkpoint_on():
    assert run("fit", "--ckpt_path", "last")["ckpt_path"] == "last"
    found = run("predict", "--ckpt_path", "best", "--return_predictions")
    assert (found["ckpt_path"], found["return_predictions"]) == ("best", True)


def test_the_seed_is_set_once_and_can_be_turned_off():
    Trainer.seeds.clear()
    run("fit", "--seed_everything", "42")
    run("fit", "--seed_everything", "false")
    run("fit")
    assert Trainer.seeds == [(42, True), (None, True)]


def test_a_class_without_arguments_and_with_its_own_loader_gets_no_data():
    found = main(["fit"], trainer_class=Trainer, model_class=ModelWithData)
    assert found == 0
    assert RUNS[-1]["data"] is None


def test_config_values_are_overridden_by_what_stands_after_them(tmp_path):
    config = tmp_path / "train.yaml"
    config.write_text("trainer: {max_epochs: 5, limit_train_batches: 1}\nmodel: {hidden: 3}\n")
    found = run("fit", "--config", str(config), "--max_epochs", "7")
    assert (found["max_epochs"], found["limit_train_batches"], found["model"].hidden) == (7, 1, 3)
    assert type(found["limit_train_batches"]) is int


def test_json_is_a_config_too(tmp_path):
    config = tmp_path / "train.json"
    config.write_text(json.dumps({"trainer": {"limit_train_batches": 1.0}, "data": {"batch_size": 2}}))
    found = run("fit", "--config", str(config))
    assert (type(found["limit_train_batches"]), found["data"].batch_size) == (float, 2)


def test_a_printed_config_gives_the_same_run_again(tmp_path, capsys):
    with pytest.raises(SystemExit) as printed:
        run("fit", "--model.hidden", "77", "--limit_train_batches", "1", "--print_config")
    config = tmp_path / "printed.yaml"
    config.write_text(capsys.readouterr().out)
    found = run("fit", "--config", str(config))
    assert printed.value.code == 0
    assert (found["model"].hidden, found["limit_train_batches"], found["accelerator"]) == (77, 1, "auto")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["fit", "--acelerator", "cpu"], "no option `--acelerator`. Did you mean `--accelerator`?"),
        (["fit", "--trainer.max_epoch", "1"], "no option `--trainer.max_epoch`. Did you mean `--max_epochs`?"),
        (["fit", "--model.hiden", "1"], "Did you mean `--model.hidden`?"),
        (["fit", "--hidden", "1"], "Did you mean `--model.hidden`?"),
        (["fit", "--max_epochs", "many"], "`--max_epochs` takes int or None, got 'many'."),
        (["fit", "--max_epochs"], "`--max_epochs` needs a value."),
        (["fit", "--model.hidden", "1.5"], "`--model.hidden` takes int, got '1.5'."),
        (["fit", "cpu"], "`cpu` belongs to no option."),
        (["fit", "--model", "nothere:Net"], "no module `nothere`"),
        (["fit", "--model", "collections:OrderedDic"], "`collections` has no class `OrderedDic`. Did you mean"),
        (["fit", "--model", "net.py:Net"], "There is no file `net.py`."),
        (["fit", "--model", "--max_epochs", "1"], "`--model` needs a class."),
        (["fit", "--config", "none.yaml"], "There is no config file `none.yaml`."),
        (["fitt"], "no command `fitt`. Did you mean `fit`?"),
        ([], "The command is missing."),
    ],
)
def test_wrong_usage_is_told_in_a_fact_and_a_remedy(capsys, args, said):
    count = len(RUNS)
    message = usage(capsys, *args)
    assert said in message
    assert "Traceback" not in message
    assert len(RUNS) == count


def test_help_of_a_command_has_groups_defaults_and_docstrings(capsys):
    with pytest.raises(SystemExit) as helped:
        run("fit", "--help")
    text = " ".join(capsys.readouterr().out.split())
    assert helped.value.code == 0
    for part in ("trainer: Trainer", "--limit_train_batches", "An int is a count.", "--model.hidden", "default: 8"):
        assert part in text


def test_no_default_trainer_is_a_usage_error(capsys, monkeypatch):
    monkeypatch.setattr(sys, "path", [])
    assert main(["fit"]) == 2
    assert "There is no trainer class. Name one with `--trainer pkg.mod:Class`." in capsys.readouterr().err


def test_a_done_run_exits_with_0(shell):
    status, out, err = shell("fit", "--model.hidden", "5", "--limit_train_batches", "1")
    assert (status, out, err) == (0, "fit 1 5 4 None\n", "")


def test_classes_come_from_files_too(shell):
    classes = ("--trainer", "project.py:Trainer", "--model", "project.Model", "--data", "project:Data")
    assert shell("fit", classes=classes)[0] == 0


def test_what_a_class_refuses_while_it_is_built_is_wrong_usage(shell):
    status, out, err = shell("fit", "--max_epochs", "-5")
    assert (status, out) == (2, "")
    assert err == "lt-cli fit: `max_epochs` must be at least -1, got -5. Use -1 to train on.\n"


def test_what_the_trainer_refuses_is_a_failed_run_without_traceback(shell):
    status, _, err = shell("fit", "--ckpt_path", "none.ckpt")
    assert (status, err) == (1, "lt-cli fit: There is no checkpoint `none.ckpt`. Name one that exists.\n")


def test_an_error_out_of_user_code_keeps_its_traceback(shell):
    status, _, err = shell("fit", "--model.fail", "here")
    assert status == 1
    assert "Traceback" in err
    assert "in training_step" in err


def test_an_interrupt_exits_with_130(start):
    process = start("fit", "--model.fail", "sleep", PYTHONUNBUFFERED="1")
    assert process.stdout.readline().startswith("fit")
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "")


def test_the_exit_status_of_a_terminated_trainer_is_kept(shell):
    assert shell("fit", "--model.fail", "exit")[0] == 143


def test_only_rank_zero_complains(shell):
    status, _, err = shell("fit", "--max_epoch", "1", RANK="1")
    assert (status, err) == (2, "")


def test_a_module_that_breaks_shows_where(shell, folder):
    (folder / "broken.py").write_text("import nothing_like_this\n")
    status, _, err = shell("fit", classes=("--model", "broken:Net"))
    assert status == 2
    assert "broken.py" in err
    assert "nothing_like_this" in err


def test_help_imports_no_class():
    code = "import sys; from lt_cli import main; main(['--help']); sys.exit(bool({'torch', 'lt'} & {*sys.modules}))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert found.returncode == 0
    assert "validate" in found.stdout
