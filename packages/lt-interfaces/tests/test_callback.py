import inspect

import pytest
from lt_interfaces import CALLBACK_HOOKS, MODULE_HOOKS, Callback, ModuleHooks, Stateful


def parameters(owner, hook):
    return list(inspect.signature(getattr(owner, hook)).parameters)


@pytest.mark.parametrize("hook", CALLBACK_HOOKS)
def test_every_callback_hook_gets_the_trainer_and_the_module_first(hook):
    assert parameters(Callback, hook)[1:3] == ["trainer", "pl_module"]


@pytest.mark.parametrize("hook", sorted(set(CALLBACK_HOOKS) & set(MODULE_HOOKS)))
def test_a_hook_means_the_same_to_callbacks_and_modules(hook):
    assert parameters(Callback, hook)[3:] == parameters(ModuleHooks, hook)[1:]


@pytest.mark.parametrize("hook", CALLBACK_HOOKS)
def test_every_hook_says_its_moment_in_one_line(hook):
    assert len(inspect.getdoc(getattr(Callback, hook)).splitlines()) == 1


def test_only_modules_prepare_data_and_only_callbacks_see_exceptions_and_the_sanity_check():
    assert set(MODULE_HOOKS) - set(CALLBACK_HOOKS) == {"prepare_data", "configure_model"}
    only_callbacks = {"on_exception", "on_sanity_check_start", "on_sanity_check_end"}
    assert set(CALLBACK_HOOKS) - set(MODULE_HOOKS) == only_callbacks


def test_every_default_hook_can_be_called_and_does_nothing():
    callback = Callback()
    for hook in CALLBACK_HOOKS:
        arguments = [None] * len(inspect.signature(getattr(callback, hook)).parameters)
        assert getattr(callback, hook)(*arguments) is None
    assert vars(callback) == {}


def test_a_callback_is_stateful_with_an_empty_state_under_its_class_name():
    class Inner(Callback):
        pass

    assert isinstance(Inner(), Stateful)
    assert Inner().state_dict() == {}
    assert Inner().state_key.endswith("Inner")
