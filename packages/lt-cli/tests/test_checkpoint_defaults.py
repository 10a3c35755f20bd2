from dataclasses import dataclass
from enum import Enum

from lt_cli import LightningArgumentParser
from lt_cli.checkpoint_defaults import known_settings


class Act(Enum):
    relu = 1
    gelu = 2


@dataclass
class Shape:
    width: int = 8
    act: Act = Act.relu


class Net:
    def __init__(self, act: Act = Act.relu, shape: Shape = Shape(), table: dict[str, float] | None = None) -> None:  # noqa: B008
        self.act, self.shape, self.table = act, shape, table


def test_what_a_checkpoint_holds_of_enums_and_tables_is_what_the_parser_takes():
    parser = LightningArgumentParser(prog="p")
    parser.add_lightning_class_args(Net, "model")
    stored = {"act": 2, "shape": {"width": 3, "act": 2}, "table": {"a": 1.0}, "gone": 5}
    known = dict(known_settings(parser, "model", stored))
    assert "model.gone" not in known
    parser.set_defaults(known)
    model = parser.instantiate(parser.settings([])).model
    assert (model.act, model.shape, model.table) == (Act.gelu, Shape(3, Act.gelu), {"a": 1.0})
