"""The old argparse style over the trainer and data modules."""

from argparse import ArgumentParser, Namespace

import lt as L
import pytest
from lt.demo import Digits


@pytest.fixture
def parser():
    parser = ArgumentParser()
    parser.add_argument("--hidden_dim", type=int, default=8)
    return L.Trainer.add_argparse_args(parser)


def test_flags_become_options_and_options_a_trainer(parser):
    args = parser.parse_args(["--max_epochs", "3", "--limit_train_batches", "0.5", "--accelerator", "cpu"])
    trainer = L.Trainer.from_argparse_args(args)
    assert (trainer.max_epochs, trainer.limit_train_batches) == (3, 0.5)
    assert args.hidden_dim == 8


def test_nothing_given_is_the_trainer_by_default(parser):
    given, plain = L.Trainer.from_argparse_args(parser.parse_args([])), L.Trainer()
    assert [type(cb) for cb in given.callbacks] == [type(cb) for cb in plain.callbacks]
    assert [type(x) for x in given.loggers] == [type(x) for x in plain.loggers]
    assert (given.max_epochs, given.max_steps, given.min_epochs) == (plain.max_epochs, plain.max_steps, None)


def test_keywords_win_and_bare_flags_are_true(parser):
    args = parser.parse_args(["--max_epochs", "3", "--fast_dev_run"])
    assert L.Trainer.parse_argparser(args).fast_dev_run is True
    assert L.Trainer.from_argparse_args(args, fast_dev_run=False, max_epochs=4).max_epochs == 4


def test_the_objects_that_only_the_loops_take_are_no_options(parser):
    assert not {"engine", "combine", "loggers", "old"} & set(vars(parser.parse_args([])))


def test_help_says_what_each_option_is(parser):
    text = " ".join(parser.format_help().split())
    assert "--max_epochs MAX_EPOCHS Stop after this many epochs; -1 for no limit." in text


def test_variables_of_the_environment_are_a_namespace(monkeypatch):
    monkeypatch.setenv("LT_TRAINER_MAX_EPOCHS", "6")
    assert L.Trainer.match_env_arguments() == Namespace(max_epochs=6)


def test_data_modules_have_it_too():
    args = Digits.add_argparse_args(ArgumentParser()).parse_args(["--batch_size", "16"])
    assert Digits.from_argparse_args(args).batch_size == 16
