from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from lt_cli import LightningArgumentParser, SaveConfigCallback
from lt_cli.plain_yaml import load


def parser() -> LightningArgumentParser:
    made = LightningArgumentParser(prog="p")
    made.add_argument("--size", type=int | None, default=3)
    return made


def callback(size: int | None = 3, **options: Any) -> SaveConfigCallback:
    made = parser()
    return SaveConfigCallback(made, made.parse_object({"size": size}), **options)


def trainer(folder: Path, **changes: Any) -> SimpleNamespace:
    facts = {"log_dir": str(folder), "loggers": [1], "fast_dev_run": False, "is_global_zero": True}
    return SimpleNamespace(**{**facts, **changes})


def test_the_settings_are_written_whole_and_nothing_else(tmp_path):
    callback().setup(trainer(tmp_path / "run"), None, "fit")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["config.yaml"]
    assert load((tmp_path / "run/config.yaml").read_text()) == {"size": 3}


def test_none_is_a_setting_too(tmp_path):
    callback(None).setup(trainer(tmp_path), None, "fit")
    assert load((tmp_path / "config.yaml").read_text()) == {"size": None}


def test_an_earlier_config_stays_and_the_run_goes_on(tmp_path):
    for size in (1, 2, 2):
        callback(size).setup(trainer(tmp_path), None, "fit")
    found = {path.name: load(path.read_text())["size"] for path in tmp_path.iterdir()}
    assert found == {"config.yaml": 1, "config_1.yaml": 2}


def test_overwriting_can_be_asked_for(tmp_path):
    for size in (1, 2):
        callback(size, overwrite=True).setup(trainer(tmp_path), None, "fit")
    assert load((tmp_path / "config.yaml").read_text()) == {"size": 2}


@pytest.mark.parametrize("change", [{"loggers": []}, {"fast_dev_run": True}, {"is_global_zero": False}])
def test_nothing_is_written_where_there_is_no_run_directory(tmp_path, change):
    callback().setup(trainer(tmp_path, **change), None, "fit")
    callback().setup(trainer(tmp_path), None, "test")
    assert list(tmp_path.iterdir()) == []


def test_a_subclass_does_more_or_something_else(tmp_path):
    class Own(SaveConfigCallback):
        def save_config(self, trainer: Any, pl_module: Any, stage: str) -> None:
            trainer.log = (stage, self.parser.dump(self.config))

    made, run = parser(), trainer(tmp_path)
    Own(made, made.parse_object({}), save_to_log_dir=False).setup(run, None, "fit")
    assert run.log == ("fit", "size: 3\n")
    assert list(tmp_path.iterdir()) == []


def test_checkpoints_hold_the_settings_as_plain_data():
    checkpoint: dict[str, Any] = {"lt": {"at": "start"}}
    callback(5).on_save_checkpoint(None, None, checkpoint)
    assert checkpoint == {"lt": {"at": "start", "config": {"size": 5}}}
