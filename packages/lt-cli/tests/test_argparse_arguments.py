from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING, Any, Literal, Optional, Union

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lt_cli import add_argparse_args, env_arguments, from_argparse_args, get_init_arguments_and_types, parse_argparser

if TYPE_CHECKING:
    from nowhere import Thing


class Base:
    """Keeps what it is given.

    Args:
        root: Where files go,
            100% of them.
    """

    def __init__(self, root: str | None = None, limit: Optional[Union[float, int]] = None) -> None:  # noqa: UP007, UP045
        self.root, self.limit = root, limit


class Trainer(Base):
    def __init__(
        self,
        devices: list[int] | str | int = "auto",
        fast_dev_run: int | bool = False,
        bar: bool | None = None,
        mode: Literal["min", "max"] = "min",
        thing: Thing | bool = True,
        callbacks: list[int] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.devices, self.fast_dev_run, self.bar, self.mode, self.thing = devices, fast_dev_run, bar, mode, thing


class Needy:
    def __init__(self, folder: str, factor=2.5) -> None:
        self.folder, self.factor = folder, factor


def parse(*args: str, cls: type = Trainer) -> Namespace:
    return add_argparse_args(cls, ArgumentParser()).parse_args(list(args))


def test_every_simple_argument_becomes_an_option_bases_included():
    assert vars(parse()) == {
        "devices": "auto",
        "fast_dev_run": False,
        "bar": None,
        "mode": "min",
        "thing": True,
        "root": None,
        "limit": None,
    }


def test_the_parser_is_extended_and_returned_with_help():
    parser = ArgumentParser()
    assert add_argparse_args(Trainer, parser) is parser
    text = " ".join(parser.format_help().split())
    assert "Trainer:" in text
    assert "Where files go, 100% of them." in text


def test_without_a_group_the_options_are_plain():
    assert "Trainer:" not in add_argparse_args(Trainer, ArgumentParser(), use_argument_group=False).format_help()


@pytest.mark.parametrize(("text", "value"), [("2", 2), ("0,2", "0,2"), ("-1", -1), ("auto", "auto")])
def test_devices_are_a_number_or_text(text, value):
    assert parse(f"--devices={text}").devices == value


@pytest.mark.parametrize(("args", "value"), [(["--bar"], True), (["--bar", "no"], False), (["--bar", "1"], True)])
def test_a_bool_takes_words_or_nothing(args, value):
    assert parse(*args).bar is value


def test_int_or_bool_takes_a_count_or_nothing():
    assert parse("--fast_dev_run").fast_dev_run is True
    assert parse("--fast_dev_run", "3").fast_dev_run == 3


@given(st.integers(), st.floats(allow_nan=False))
def test_the_literal_decides_between_int_and_float(count, fraction):
    found = parse(f"--limit={count}").limit, parse(f"--limit={fraction!r}").limit
    assert (type(found[0]), found[0]) == (int, count)
    assert (type(found[1]), found[1]) == (float, fraction)


def test_none_is_a_value_where_the_type_says_so():
    class Often:
        def __init__(self, every: int | None = 1, size: Optional[float] = 0.5, thing: Thing | int | None = 2) -> None:  # noqa: UP045
            pass

    assert vars(parse(cls=Often)) == {"every": 1, "size": 0.5, "thing": 2}
    given = parse("--every", "none", "--size", "null", "--thing", "None", cls=Often)
    assert vars(given) == {"every": None, "size": None, "thing": None}


def test_what_fits_no_type_is_refused(capsys):
    with pytest.raises(SystemExit):
        parse("--limit", "many")
    assert "takes int or float, got 'many'" in capsys.readouterr().err


def test_a_required_argument_is_a_required_option():
    with pytest.raises(SystemExit):
        parse(cls=Needy)
    assert parse("--folder", "x", "--factor", "3", cls=Needy) == Namespace(folder="x", factor=3.0)


def test_an_instance_takes_what_it_knows_and_kwargs_win():
    args = Namespace(devices=2, root="a", unknown=1)
    found = from_argparse_args(Trainer, args, root="b")
    assert (found.devices, found.root) == (2, "b")


def test_a_parser_is_parsed_first(monkeypatch):
    monkeypatch.setattr("sys.argv", ["train.py", "--devices", "4"])
    assert from_argparse_args(Trainer, add_argparse_args(Trainer, ArgumentParser())).devices == 4


def test_a_bool_without_a_value_becomes_true():
    assert parse_argparser(Trainer, Namespace(fast_dev_run=None, bar=None)) == Namespace(fast_dev_run=True, bar=None)


def test_the_environment_gives_literals_or_text(monkeypatch):
    monkeypatch.setenv("PL_TRAINER_DEVICES", "2")
    monkeypatch.setenv("PL_TRAINER_ROOT", "runs/a")
    monkeypatch.setenv("LT_TRAINER_ROOT", "runs/b")
    monkeypatch.setenv("PL_TRAINER_UNKNOWN", "1")
    assert env_arguments(Trainer) == {"devices": 2, "root": "runs/b"}
    assert env_arguments(Trainer, prefix="PL_TRAINER_") == {"devices": 2, "root": "runs/a"}


@pytest.mark.parametrize(
    ("text", "value"), [("16", 16), ("16-mixed", "16-mixed"), ("0.5", 0.5), ("false", False), ("no", "no")]
)
def test_any_takes_what_the_text_looks_like(text, value):
    class Open:
        def __init__(self, precision: Any = None) -> None:
            self.precision = precision

    found = parse("--precision", text, cls=Open).precision
    assert (type(found), found) == (type(value), value)


def test_types_are_reduced_to_simple_ones():
    found = {name: kinds for name, kinds, _ in get_init_arguments_and_types(Trainer)}
    assert found["devices"] == (int, str)
    assert found["limit"] == (int, float)
    assert found["thing"] == (bool,)
    assert found["callbacks"] == ()
