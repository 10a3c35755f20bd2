"""The names of `lt`: complete, resolved on first use, and helpful where one is wrong."""

import subprocess
import sys
from types import ModuleType

import lt
import lt_accel
import lt_callbacks
import lt_loggers
import lt_module
import pytest


def test_dir_lists_all_names_and_each_resolves():
    assert dir(lt) == sorted(lt.__all__)
    assert [name for name in dir(lt) if getattr(lt, name) is None] == []


def test_the_names_are_those_of_the_packages():
    assert lt.Fabric is lt_accel.Fabric
    assert lt.LightningModule is lt_module.LightningModule
    assert lt.callbacks.ModelCheckpoint is lt_callbacks.ModelCheckpoint
    assert lt.loggers.CSVLogger is lt_loggers.CSVLogger
    assert lt.strategies.DDPStrategy is lt_accel.DDPStrategy


@pytest.mark.parametrize("name", [name for name in lt.__all__ if isinstance(getattr(lt, name), ModuleType)])
def test_a_submodule_offers_exactly_what_it_says(name):
    module = getattr(lt, name)
    assert module.__name__ == f"lt.{name}"
    assert [n for n in module.__all__ if not hasattr(module, n)] == []


def test_an_unknown_name_is_told_the_nearest_one():
    with pytest.raises(AttributeError, match=r"no attribute 'LightningModul'\. Did you mean `LightningModule`\?"):
        lt.LightningModul  # noqa: B018


def test_importing_lt_loads_neither_torch_nor_a_package_that_needs_it():
    code = "import sys, lt; dir(lt); print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert [name for name in loaded if name == "torch" or name.startswith("lt_")] == ["lt_interfaces"]
