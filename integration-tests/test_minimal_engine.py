"""`pip install lt-loops lt-accel` into a bare environment trains a plain module without a base class or a sibling."""

import importlib.metadata
import os
import re
import sys
from pathlib import Path

import pytest
from programs import run
from source_tree import PACKAGES

NEEDED = ("lt-interfaces", "lt-checkpoint", "lt-loops", "lt-accel")

PROGRAM = """
import importlib.metadata
import importlib.util
import sys

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import lt_loops
from lt_accel import Fabric


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 1)

    def training_step(self, batch, batch_idx):
        x, y = batch
        return nn.functional.mse_loss(self.layer(x), y)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


torch.manual_seed(0)
x = torch.randn(64, 3)
data = TensorDataset(x, x.sum(1, keepdim=True) + 1)


def by_hand():
    torch.manual_seed(1)
    net = Net()
    optimizer = net.configure_optimizers()
    for _ in range(10):
        for i, batch in enumerate(DataLoader(data, 8, shuffle=True)):
            loss = net.training_step(batch, i)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return net


def by_lt(**options):
    torch.manual_seed(1)
    net = Net()
    lt_loops.Trainer(max_epochs=10, **options).fit(net, DataLoader(data, 8, shuffle=True))
    return net


expected = by_hand()
assert expected.layer.bias.item() > 0.9
for net in (by_lt(), by_lt(engine=Fabric(accelerator="cpu"))):
    assert torch.equal(net.layer.weight, expected.layer.weight)
    assert torch.equal(net.layer.bias, expected.layer.bias)

assert lt_loops.__file__.startswith(sys.prefix)
assert sorted(d.name for d in importlib.metadata.distributions() if d.name.startswith("lt-")) == NEEDED
assert not [name for name in OTHERS if importlib.util.find_spec(name)]
"""


def with_dependencies(name: str, found: dict[str, importlib.metadata.Distribution]) -> None:
    """Collect a distribution and, as far as they are installed here, those that it names."""
    try:
        distribution = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return  # named for another platform
    if distribution.name not in found:
        found[distribution.name] = distribution
        for line in distribution.requires or []:
            if "extra ==" not in line:
                with_dependencies(re.split(r"[^\w.-]", line)[0], found)


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory) -> Path:
    """The interpreter of a new environment that sees torch, by links, and has the two packages from their wheels."""
    folder = tmp_path_factory.mktemp("bare")
    for package in PACKAGES:
        if package.name in NEEDED:
            built = run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=package.folder)
            assert built.returncode == 0, built.stderr
    assert run(sys.executable, "-m", "venv", "--without-pip", "env", cwd=folder).returncode == 0
    python = folder / "env/bin/python"
    [site] = folder.glob("env/lib/python*/site-packages")
    distributions: dict[str, importlib.metadata.Distribution] = {}
    with_dependencies("torch", distributions)
    for distribution in distributions.values():
        for top in {Path(str(path)).parts[0] for path in distribution.files or []} - {"..", "__pycache__"}:
            if not (site / top).exists():
                os.symlink(distribution.locate_file(top), site / top)
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-index", "--find-links", folder)
    installed = run(*pip, "lt-loops", "lt-accel", cwd=folder)
    assert installed.returncode == 0, installed.stderr
    return python


def test_two_packages_train_a_plain_module_as_the_hand_written_loop_does(bare_python: Path, tmp_path: Path):
    others = [package.import_name for package in PACKAGES if package.name not in NEEDED]
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.replace("NEEDED", repr(sorted(NEEDED))).replace("OTHERS", repr(others)))
    warnings = ("-W", "error", "-W", "ignore:Failed to initialize NumPy:UserWarning")
    done = run(bare_python, "-I", *warnings, program, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "lt_module" in others
    assert [path.name for path in tmp_path.iterdir()] == ["program.py"]
