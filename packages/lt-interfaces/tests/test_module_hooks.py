import functools

import pytest
from lt_interfaces import CALLBACK_HOOKS, MODULE_HOOKS, Callback, ModuleHooks, default_hook, is_overridden


@pytest.mark.parametrize("hook", MODULE_HOOKS)
def test_no_default_counts_as_overridden(hook):
    assert not is_overridden(ModuleHooks(), hook)


def test_the_lists_hold_hooks_only():
    assert len(set(CALLBACK_HOOKS)) == len(CALLBACK_HOOKS)
    assert not {"state_dict", "load_state_dict", "state_key", "priority"} & set(CALLBACK_HOOKS)


def test_a_subclass_overrides_what_it_defines():
    class Mine(Callback):
        def on_train_start(self, trainer, pl_module):
            return None

    assert is_overridden(Mine(), "on_train_start")
    assert not is_overridden(Mine(), "on_train_end")


def test_an_inherited_override_is_an_override():
    class Parent(Callback):
        def on_train_start(self, trainer, pl_module):
            return None

    class Child(Parent):
        pass

    assert is_overridden(Child(), "on_train_start")


def test_any_object_may_have_hooks():
    class Plain:
        on_fit_end = None

        def on_fit_start(self, trainer, pl_module):
            return None

    assert is_overridden(Plain(), "on_fit_start")
    assert not is_overridden(Plain(), "on_fit_end")
    assert not is_overridden(Plain(), "on_train_start")


def test_a_hook_set_on_the_object_counts():
    callback = Callback()
    callback.on_fit_start = functools.partial(print, "hello")
    assert is_overridden(callback, "on_fit_start")


def test_other_bases_can_mark_their_own_defaults():
    class Base:
        @default_hook
        def configure_optimizers(self):
            return None

    class Child(Base):
        def configure_optimizers(self):
            return None

    assert not is_overridden(Base(), "configure_optimizers")
    assert is_overridden(Child(), "configure_optimizers")
