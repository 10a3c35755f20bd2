import subprocess
import sys
from typing import get_type_hints

import lt_interfaces
import pytest
from lt_interfaces import Checkpoint, Logger, Stateful


class Memory:
    """Fits `Logger` without naming it."""

    name = "memory"
    version = 0

    def __init__(self):
        self.records = []

    def log_metrics(self, metrics, step=None):
        self.records.append((step, dict(metrics)))

    def log_hyperparams(self, params):
        self.params = params

    def save(self):
        return None

    def finalize(self, status):
        self.status = status


def test_a_class_fits_by_its_methods_alone():
    assert isinstance(Memory(), Logger)
    assert not isinstance(object(), Logger)
    assert not isinstance(Memory(), Stateful)


def test_a_checkpoint_needs_what_lightning_reads_first():
    needed = {"epoch", "global_step", "pytorch-lightning_version", "state_dict"}
    assert needed == Checkpoint.__required_keys__
    assert get_type_hints(Checkpoint)["epoch"] is int


@pytest.mark.parametrize("name", lt_interfaces.__all__)
def test_every_public_name_is_there_and_documented(name):
    thing = getattr(lt_interfaces, name)
    assert thing.__doc__ if callable(thing) else thing


def test_importing_needs_no_torch():
    code = "import sys; sys.modules['torch'] = None; import lt_interfaces"
    subprocess.run([sys.executable, "-c", code], check=True)
