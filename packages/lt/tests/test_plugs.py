"""Names in place of objects: lt's own table first, then what other packages registered."""

import builtins
import os
import subprocess
import sys
from pathlib import Path

import pytest
from lt.plugs import resolve

PLUG = """
from lt_accel import CPUAccelerator, SingleDeviceStrategy
from lt_interfaces import Callback
from lt_loggers import CSVLogger

class Beep(Callback):
    pass

class Notes(CSVLogger):
    pass

class Chip(CPUAccelerator):
    pass

class Alone(SingleDeviceStrategy):
    pass
"""
ENTRY_POINTS = """
[lt.callbacks]
beep = plug:Beep
[lt.loggers]
notes = plug:Notes
[lt.accelerators]
chip = plug:Chip
[lt.strategies]
alone = plug:Alone
"""
PROGRAM = """
import sys
import lt as L

plain = L.Trainer()
assert "plug" not in sys.modules, "only naming it may load it"
trainer = L.Trainer(callbacks=["beep"], logger="notes", accelerator="chip", strategy="alone")
print(*[type(cb).__name__ for cb in trainer.callbacks if type(cb).__module__ == "plug"])
print(type(trainer.logger).__name__, type(trainer.accelerator).__name__, type(trainer.strategy).__name__)
"""


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder with a third party's package as pip would leave it."""
    (tmp_path / "plug.py").write_text(PLUG)
    info = tmp_path / "plug-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plug\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    return tmp_path


def test_another_package_plugs_in_by_its_entry_points_and_only_where_it_is_named(installed):
    path = os.pathsep.join(filter(None, [str(installed), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=installed,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["Beep", "Notes", "Chip", "Alone"]


def test_an_object_is_itself():
    thing = object()
    assert resolve("callbacks", thing, None, {}) is thing


def test_a_name_of_the_table_is_made_with_the_arguments():
    assert resolve("loggers", "plain", builtins, {"plain": "dict"}, save_dir="here") == {"save_dir": "here"}


def test_an_unknown_name_is_told_the_nearest_and_how_others_are_added():
    with pytest.raises(
        ValueError, match=r"nothing called 'csvv' among the loggers\. Did you mean `csv`\? .*`lt\.loggers`"
    ):
        resolve("loggers", "csvv", builtins, {"csv": "dict"})
