"""Defaults from environment variables, and a signature that shows them all."""

import inspect

import lt as L
import pytest


def test_a_variable_gives_what_the_call_does_not(monkeypatch):
    monkeypatch.setenv("LT_TRAINER_MAX_EPOCHS", "7")
    monkeypatch.setenv("LT_TRAINER_LIMIT_TRAIN_BATCHES", "0.25")
    monkeypatch.setenv("LT_TRAINER_ACCELERATOR", "cpu")
    monkeypatch.setenv("LT_TRAINER_LOGGER", "False")
    trainer = L.Trainer(max_epochs=2)
    assert (trainer.max_epochs, trainer.limit_train_batches) == (2, 0.25)
    assert (trainer.engine.device.type, trainer.loggers) == ("cpu", [])


def test_lightnings_prefix_is_read_and_ours_wins(monkeypatch):
    monkeypatch.setenv("PL_TRAINER_MAX_EPOCHS", "3")
    assert L.Trainer().max_epochs == 3
    monkeypatch.setenv("LT_TRAINER_MAX_EPOCHS", "4")
    assert L.Trainer().max_epochs == 4


def test_a_wrong_value_is_an_error_like_any_other(monkeypatch):
    monkeypatch.setenv("LT_TRAINER_MAX_EPOCHS", "many")
    with pytest.raises(TypeError, match="`max_epochs` got 'many'"):
        L.Trainer()


def test_a_subclass_reads_them_too(monkeypatch):
    class Mine(L.Trainer):
        pass

    monkeypatch.setenv("LT_TRAINER_MAX_STEPS", "5")
    assert Mine().max_steps == 5


def test_the_signature_has_names_only():
    kinds = {p.kind for p in inspect.signature(L.Trainer).parameters.values()}
    assert kinds == {inspect.Parameter.KEYWORD_ONLY}
