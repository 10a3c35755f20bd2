import functools
import threading
import warnings
from argparse import Namespace
from collections import UserDict
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from lt_module import AttributeDict, HyperparametersMixin, LightningModule, instantiate
from torch import nn


class Base(LightningModule):
    def __init__(self, lr=0.1, width=4):
        super().__init__()
        self.save_hyperparameters()


class Sub(Base):
    def __init__(self, depth, lr=0.2, **kwargs):
        super().__init__(lr=lr * 10, **kwargs)


def test_all_arguments_of_init_are_kept():
    module = Base(width=8)
    assert module.hparams == {"lr": 0.1, "width": 8}
    assert type(module.hparams) is AttributeDict
    assert module._hparams_name == "kwargs"
    assert module._log_hyperparams


def test_arguments_of_subclasses_are_kept_too_and_win_over_those_of_the_base():
    assert Sub(3, width=5).hparams == {"depth": 3, "lr": 0.2, "width": 5}


def test_names_choose_what_is_kept():
    class Chosen(LightningModule):
        def __init__(self, a, b, c):
            super().__init__()
            self.save_hyperparameters("a", "c")

    assert Chosen(1, 2, 3).hparams == {"a": 1, "c": 3}


def test_a_wrong_name_is_an_error_with_the_nearest_right_one():
    class Wrong(LightningModule):
        def __init__(self, width):
            super().__init__()
            self.save_hyperparameters("widht")

    with pytest.raises(ValueError, match=r"no argument `widht`\. Did you mean `width`"):
        Wrong(1)


class Config(LightningModule):
    def __init__(self, config, extra=0):
        super().__init__()
        self.save_hyperparameters(config)


@dataclass
class Settings:
    lr: float = 0.1


@pytest.mark.parametrize(
    "config", [{"lr": 0.1}, Namespace(lr=0.1), Settings(), UserDict(lr=0.1), AttributeDict(lr=0.1)]
)
def test_one_object_is_kept_by_its_content_and_remembered_by_the_argument_that_brought_it(config):
    module = Config(config)
    assert module.hparams == {"lr": 0.1}
    assert module._hparams_name == "config"


def test_an_object_made_in_init_goes_back_as_keywords():
    class Made(LightningModule):
        def __init__(self, lr):
            super().__init__()
            self.save_hyperparameters({"lr": lr, "more": 1})

    assert Made(0.1).hparams == {"lr": 0.1, "more": 1}
    assert Made(0.1)._hparams_name == "kwargs"


def test_an_empty_object_changes_nothing():
    module = Config({})
    assert module.hparams == {}
    assert module._hparams_name is None


@pytest.mark.parametrize("config", [3, 0.1, [1], None, object()])
def test_what_has_no_names_is_refused(config):
    with pytest.raises(TypeError, match="Pass names"):
        Config(config)


def test_ignored_names_stay_out_whoever_saves():
    class IgnoresLate(Base):
        def __init__(self, lr, net):
            super().__init__(lr)
            self.save_hyperparameters(ignore=["net", "width"])

    class IgnoresEarly(Base):
        def __init__(self, lr, net):
            self.save_hyperparameters(ignore="net")
            super().__init__(lr)

    with pytest.warns(UserWarning, match="`net`"):  # the base saved it before the subclass spoke
        assert IgnoresLate(1, nn.Linear(1, 1)).hparams == {"lr": 1}
    assert IgnoresEarly(1, nn.Linear(1, 1)).hparams == {"lr": 1, "width": 4}


def test_ignored_names_can_be_removed_later():
    module = Base()
    module.remove_ignored_hparams(["lr"])
    assert module.hparams == {"width": 4}


def test_dataclass_modules_keep_their_fields_with_defaults_made():
    @dataclass(eq=False)
    class Model(LightningModule):
        lr: float
        sizes: list[int] = field(default_factory=lambda: [1, 2])
        hidden: int = field(default=3, init=False)

        def __post_init__(self):
            super().__init__()
            self.save_hyperparameters()

    assert Model(0.1).hparams == {"lr": 0.1, "sizes": [1, 2]}


def test_variadic_positions_are_kept_where_they_are_used():
    class Sizes(LightningModule):
        def __init__(self, *sizes, bias=True):
            super().__init__()
            self.save_hyperparameters()

    class Passing(Base):
        def __init__(self, *args, **kwargs):
            self.save_hyperparameters()
            super().__init__(*args, **kwargs)

    assert Sizes(1, 2).hparams == {"sizes": (1, 2), "bias": True}
    assert Sizes().hparams == {"bias": True}
    assert Passing(0.5, width=2).hparams == {"lr": 0.5, "width": 2}


def test_positions_passed_on_are_kept_once_however_often_the_classes_save():
    class Saving(Base):
        def __init__(self, own, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.save_hyperparameters()

    made = Saving(1, 0.5, width=2)
    assert made.hparams == {"own": 1, "lr": 0.5, "width": 2}
    assert instantiate(Saving, made.hparams).hparams == made.hparams


def test_positions_of_a_base_stay_where_a_subclass_calls_its_own_alike():
    class Sizes(LightningModule):
        def __init__(self, *args):
            super().__init__()
            self.save_hyperparameters()

    class Named(Sizes):
        def __init__(self, name, *args):
            super().__init__(*args)

    made = Named("n", 1, 2)
    assert made.hparams == {"name": "n", "args": (1, 2)}
    assert instantiate(Named, made.hparams).hparams == made.hparams


def test_wrappers_around_init_do_not_hide_it():
    def wrapped(init):
        @functools.wraps(init)
        def call(*args, **kwargs):
            return init(*args, **kwargs)

        return call

    class Wrapped(Base):
        @wrapped
        def __init__(self, own):
            super().__init__()

    assert Wrapped(1).hparams == {"own": 1, "lr": 0.1, "width": 4}


def test_nested_modules_keep_their_own_arguments_only():
    class Outer(LightningModule):
        def __init__(self, outer):
            super().__init__()
            self.save_hyperparameters()
            self.inner = Base(lr=7)

    module = Outer(1)
    assert module.hparams == {"outer": 1}
    assert module.inner.hparams == {"lr": 7, "width": 4}


def test_initial_values_are_a_copy_each_time():
    module = Config({"sizes": [1]})
    module.hparams.sizes.append(2)
    module.hparams_initial.sizes.append(3)
    assert module.hparams_initial == {"sizes": [1]}


def test_logger_false_is_remembered():
    class Quiet(LightningModule):
        def __init__(self, lr):
            super().__init__()
            self.save_hyperparameters(logger=False)

    assert not Quiet(1)._log_hyperparams


def test_values_without_a_plain_form_are_warned_of_once_and_left_out_of_files():
    class Rich(LightningModule):
        def __init__(self, net, act, lock, root, lr):
            super().__init__()
            self.save_hyperparameters()
            self.save_hyperparameters()

    with pytest.warns(UserWarning, match="`net` .Linear., `act` .function., `lock`") as caught:
        module = Rich(nn.Linear(1, 1), lambda x: x, threading.Lock(), Path("data"), 0.1)
    assert len(caught) == 1
    assert "ignore=['act', 'lock', 'net']" in str(caught[0].message)
    assert caught[0].filename == __file__
    assert module.hparams_to_save() == {"root": "data", "lr": 0.1}
    assert set(module.hparams) == {"net", "act", "lock", "root", "lr"}
    assert module.hparams_initial.net is module.hparams.net


def test_a_network_among_hyperparameters_is_no_layer():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert list(Config({"net": nn.Linear(1, 1)}).parameters()) == []


def test_any_class_can_keep_hyperparameters():
    class Data(HyperparametersMixin):
        def __init__(self, folder, batch_size=32):
            self.save_hyperparameters()

    assert Data("x").hparams_to_save() == {"folder": "x", "batch_size": 32}


def test_a_frame_can_be_given():
    import sys

    class Framed(LightningModule):
        def __init__(self, lr):
            super().__init__()
            self.keep(sys._getframe())

        def keep(self, frame):
            self.save_hyperparameters(frame=frame)

    assert Framed(1).hparams == {"lr": 1}
