import math
from argparse import Namespace
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path, PurePosixPath

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from lt_loggers import CSVLogger, load_hparams_from_yaml, save_hparams_to_yaml
from lt_loggers.hparams import flatten, plain_hparams

CANARY = "sk-CANARY-1234"


class Color(Enum):
    RED = 1


@dataclass
class Optimizer:
    lr: float = 0.1
    schedule: tuple = (1, 2)


class SecretStr:
    def get_secret_value(self):
        return CANARY


class Settings:
    def model_dump(self):
        return {"depth": 3, "api_key": CANARY}


def test_a_run_writes_its_hyperparameters_as_plain_yaml_and_adds_later_ones(tmp_path):
    logger = CSVLogger(tmp_path)
    logger.log_hyperparams(Namespace(lr=0.1, optimizer=Optimizer()))
    logger.log_hyperparams({"data": {"batch_size": 32}})
    loaded = load_hparams_from_yaml(Path(logger.log_dir) / "hparams.yaml")
    assert loaded == {"lr": 0.1, "optimizer": {"lr": 0.1, "schedule": [1, 2]}, "data": {"batch_size": 32}}
    assert [path.name for path in Path(logger.log_dir).iterdir()] == ["hparams.yaml"]


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (Color.RED, "RED"),
        (PurePosixPath("/data"), "/data"),
        (math.sqrt, "sqrt"),
        (Optimizer, "Optimizer"),
        (partial(max, 1), str(partial(max, 1))),
        (Settings(), {"depth": 3, "api_key": "***"}),
        ({3: None, None: True}, {3: None, "None": True}),
    ],
)
def test_values_that_yaml_cannot_hold_become_names_or_text(value, written):
    assert plain_hparams({"x": value}) == {"x": written}


def test_array_scalars_become_numbers_and_arrays_text():
    torch = pytest.importorskip("torch")
    plain = plain_hparams({"a": torch.tensor(0.5), "b": torch.zeros(2), "c": torch.nn.ReLU(), "d": torch.float16})
    assert plain == {"a": 0.5, "b": "tensor([0., 0.])", "c": "ReLU()", "d": "torch.float16"}


@pytest.mark.parametrize(
    "params",
    [
        {"api_key": CANARY},
        {"apiKey": CANARY},
        {"WANDB_API_KEY": CANARY},
        {"authToken": CANARY, "auth": {"user": CANARY}},
        {"db": {"password": CANARY, "credentials": [CANARY]}},
        {"url": f"https://user:{CANARY}@host/path"},
        {"note": SecretStr()},
        {"s3_secret_value": CANARY.encode()},
        {"settings": Settings()},
    ],
)
def test_no_secret_reaches_the_folder_of_a_run(tmp_path, params):
    logger = CSVLogger(tmp_path)
    logger.log_hyperparams(params)
    text = (Path(logger.log_dir) / "hparams.yaml").read_text()
    assert "CANARY" not in text
    assert "***" in text


def test_numbers_and_words_that_merely_look_like_secrets_stay():
    params = {
        "max_tokens": 512,
        "num_key_heads": 8,
        "tokenizer": "bpe",
        "author": "me",
        "keyboard": "us",
        "token": None,
    }
    assert plain_hparams(params) == params
    assert plain_hparams({"url": "https://host/a@b", "mail": "a@b.org"}) == {
        "url": "https://host/a@b",
        "mail": "a@b.org",
    }


def test_only_named_values_are_hyperparameters():
    assert plain_hparams(None) == {}
    with pytest.raises(TypeError, match=r"must be a mapping, Namespace or dataclass, got \[1\]"):
        plain_hparams([1])


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.from_regex(r"[a-c]{1,3}", fullmatch=True), inner),
    max_leaves=10,
)


@settings(deadline=None)
@given(st.dictionaries(st.from_regex(r"[a-c]{1,3}", fullmatch=True), PLAIN))
def test_plain_values_come_back_as_they_were(tmp_path_factory, params):
    path = tmp_path_factory.mktemp("hparams") / "hparams.yaml"
    save_hparams_to_yaml(path, params)
    assert load_hparams_from_yaml(path) == plain_hparams(params)


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("!!python/object/apply:os.system [echo]", "is not plain YAML"),
        ("a: [", "is not plain YAML"),
        ("[" * 5000, "is not plain YAML"),
        ("- 1", "must hold a mapping"),
        ("a: " + "x" * 1_000_001, "is larger than"),
    ],
    ids=["code", "broken", "deep", "list", "large"],
)
def test_a_file_with_anything_but_plain_values_is_refused(tmp_path, text, fact):
    path = tmp_path / "hparams.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=fact):
        load_hparams_from_yaml(path)


def test_an_empty_file_holds_no_hyperparameters_and_a_missing_one_is_an_error(tmp_path):
    (tmp_path / "hparams.yaml").touch()
    assert load_hparams_from_yaml(tmp_path / "hparams.yaml") == {}
    with pytest.raises(FileNotFoundError):
        load_hparams_from_yaml(tmp_path / "none.yaml")


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "hparams.yaml"
    save_hparams_to_yaml(path, {"a": 1})
    path.chmod(0o640)
    with pytest.raises(yaml.YAMLError):
        save_hparams_to_yaml(path, {"a": type("Odd", (), {"item": lambda self: type("Int", (int,), {})(3)})()})
    assert load_hparams_from_yaml(path) == {"a": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["hparams.yaml"]


def test_nested_names_are_joined_by_slashes():
    assert flatten({"a": {"b": {"c": 1}, "d": {}}, "e": [2]}) == {"a/b/c": 1, "a/d": {}, "e": [2]}
