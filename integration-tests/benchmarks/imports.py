"""What a start costs: importing, the command line, a program up to its first step. Each in a process of its own."""

import os
import subprocess
import sys
import sysconfig
import tempfile
from importlib.util import find_spec
from pathlib import Path
from statistics import median

from measuring.report import options, print_table

RAW_STEP = """
import torch
model = torch.nn.Linear(32, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
optimizer.zero_grad()
model(torch.zeros(64, 32)).sum().backward()
optimizer.step()
"""
TRAINER_STEP = """
import torch
import {package} as framework
class Module(framework.LightningModule):
    def __init__(self):
        super().__init__()
        self.model = torch.nn.Linear(32, 2)
    def training_step(self, batch, batch_idx):
        return self.model(batch).sum()
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1e-3)
framework.Trainer(
    max_steps=1, max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
    enable_model_summary=False,
).fit(Module(), [torch.zeros(64, 32)])
"""
COUNTED = "--- modules: "
BYTE_CODE = tempfile.TemporaryDirectory()


def command(code: str) -> list[str]:
    """A program that ends by telling on standard error how many modules it has loaded."""
    report = f"import sys; sys.stderr.write('{COUNTED}%d' % len(sys.modules))"
    return [sys.executable, "-W", "ignore", "-c", f"{code}\n{report}"]


def measured(arguments: list[str]) -> tuple[float, float, float]:
    """CPU seconds, MiB at most, and modules of one run; the modules only where the program tells them."""
    reading, writing = os.pipe()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    if environment.pop("PYTHONDONTWRITEBYTECODE", None):
        environment["PYTHONPYCACHEPREFIX"] = BYTE_CODE.name  # compiling is no part of a second start
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=writing, env=environment)
    os.close(writing)
    with os.fdopen(reading) as file:
        words = file.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{arguments} failed:\n{words}")
    modules = words.rpartition(COUNTED)[2] if COUNTED in words else "nan"
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, float(modules)


def main() -> None:
    given = options(__doc__, repeats=5)
    programs = {
        "python": command(""),
        "`import lt`": command("import lt"),
        "`import torch`": command("import torch"),
        "`import torch, lt; lt.Trainer`": command("import torch, lt; lt.Trainer"),
        "`lt-cli --help`": [str(Path(sysconfig.get_path("scripts")) / "lt-cli"), "--help"],
        "first step by hand": command(RAW_STEP),
        "first step with `lt.Trainer`": command(TRAINER_STEP.format(package="lt")),
    }
    if given.beside and find_spec(given.beside):
        home = "lightning.pytorch" if given.beside == "lightning" else given.beside
        programs[f"`import torch, {home}`"] = command(f"import torch, {home}")
        programs[f"first step with `{home}.Trainer`"] = command(TRAINER_STEP.format(package=home))
    for arguments in programs.values():
        measured(arguments)  # byte code and disk cache
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in programs}
    for _ in range(given.repeats):
        for name, arguments in programs.items():
            found[name].append(measured(arguments))
    rows = []
    for name, runs in found.items():
        seconds, size, modules = (median(column) for column in zip(*runs, strict=True))
        least, most = min(run[0] for run in runs), max(run[0] for run in runs)
        count = "" if modules != modules else f"{modules:.0f}"
        rows.append([name, f"{seconds:.3f} ({least:.3f} to {most:.3f})", f"{size:.0f}", count])
    print_table("A start", ["whole process", "CPU seconds (least to most)", "MiB", "modules"], rows)


if __name__ == "__main__":
    main()
