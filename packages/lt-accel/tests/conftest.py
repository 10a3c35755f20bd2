import os
import subprocess
import sys

import pytest
import torch

LAUNCHERS = (
    "RANK",
    "LOCAL_RANK",
    "WORLD_SIZE",
    "NODE_RANK",
    "GROUP_RANK",
    "MASTER_",
    "SLURM_",
    "OMPI_",
    "PMI_",
    "JSM_",
)


@pytest.fixture(autouse=True)
def _no_launcher(monkeypatch):
    """Tests see a process that nobody launched, and leave the environment as it was."""
    for name in list(os.environ):
        if name.startswith((*LAUNCHERS, "TORCHELASTIC_", "LSB_", "PL_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")
    monkeypatch.setenv("PL_SEED_WORKERS", "0")


@pytest.fixture
def run_script(tmp_path):
    """Runs source text as a script of its own; returns the finished process."""

    def run(source: str, *args: str, command: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        (tmp_path / "script.py").write_text(source)
        name = "script" if command == ("-m",) else "script.py"
        return subprocess.run(
            [sys.executable, *command, name, *args], capture_output=True, text=True, timeout=120, cwd=tmp_path
        )

    return run


def pytest_collection_modifyitems(items):
    if torch.cuda.device_count() == 0:
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))
