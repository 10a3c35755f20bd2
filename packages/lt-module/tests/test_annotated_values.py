"""Plain values in the types that annotations ask for."""

from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from pathlib import Path

import pytest
from lt_checkpoint import plain, save
from lt_module import LightningModule
from lt_module.annotated_values import annotated, annotations


class Kind(Enum):
    RELU = "relu"
    TANH = "tanh"


@dataclass
class Layer:
    width: int = 8
    kind: Kind = Kind.RELU


@dataclass
class Config:
    layers: list[Layer] = field(default_factory=list)
    root: Path | None = None


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (Kind.TANH, Kind),
        (Kind.TANH, Kind | None),
        (None, Kind | None),
        (Config([Layer(4, Kind.TANH)], Path("a")), Config),
        ((Kind.RELU, 3), tuple[Kind, int]),
        ((Kind.RELU, Kind.TANH), tuple[Kind, ...]),
        ({"a": Layer(1)}, dict[str, Layer]),
        (timedelta(minutes=1), timedelta),
        ("relu", str | Kind),
    ],
)
def test_what_was_made_plain_becomes_what_it_was(value, kind):
    assert annotated(plain(value), kind) == value


@pytest.mark.parametrize(
    ("value", "kind"), [("gelu", Kind), ({"depth": 2}, Layer), (3, str), ([1], tuple[int, int]), (1, "x")]
)
def test_what_does_not_fit_stays_as_it_is(value, kind):
    assert annotated(value, kind) == value


def test_annotations_that_name_nothing_are_none():
    def function(x: "Unknown"):  # noqa: F821
        return x

    assert annotations(function) == {}


class Net(LightningModule):
    def __init__(self, kind: Kind, layer: Layer | None = None, root: Path = Path()):
        super().__init__()
        self.save_hyperparameters()
        self.given = (kind, layer, root)


def test_a_module_is_built_again_from_enums_dataclasses_and_paths(tmp_path):
    made = Net(Kind.TANH, Layer(3), tmp_path)
    save({"state_dict": {}, "hyper_parameters": made.hparams_to_save()}, tmp_path / "net.ckpt")
    assert Net.load_from_checkpoint(tmp_path / "net.ckpt").given == made.given
