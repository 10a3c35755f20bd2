"""How long a training step waits for a checkpoint: a blocking save, one in the background, and another framework's.

A model with Adam, so three values a parameter; `--parameters 100_000_000` makes that 1.2 GB. The saves of all kinds
take turns. `--beside lightning` adds rows.
"""

import argparse
import shutil
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch
from lt_checkpoint import AsyncCheckpointIO, CheckpointIO, load
from measuring.report import print_table
from torch import nn

STEPS_BETWEEN = 2


class Training:
    """A model whose steps are cheap beside its state, as it is for a large model's share of a step."""

    def __init__(self, parameters: int) -> None:
        width = 1000
        layers = [nn.Linear(width, width, bias=False) for _ in range(max(1, parameters // width**2))]
        self.model = nn.Sequential(*layers)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-5, fused=True)
        self.steps = 0

    def step(self) -> None:
        self.optimizer.zero_grad()
        self.model(torch.randn(2, 1000)).square().mean().backward()
        self.optimizer.step()
        self.steps += 1

    def state(self) -> dict[str, Any]:
        return {
            "global_step": self.steps,
            "state_dict": self.model.state_dict(),
            "optimizer_states": [self.optimizer.state_dict()],
        }


class Kind:
    """One way to save; `stalls` are the seconds that a step waited, `steps` those of the steps meanwhile."""

    def __init__(self, save: Callable[[Any, str], Any], flush: Callable[[], Any]) -> None:
        self.save, self.flush = save, flush
        self.stalls: list[float] = []
        self.steps: list[float] = []
        self.whole: list[float] = []

    def measure(self, training: Training, path: str) -> None:
        begin = perf_counter()
        self.save(training.state(), path)
        self.stalls.append(perf_counter() - begin)
        for _ in range(STEPS_BETWEEN):
            start = perf_counter()
            training.step()
            self.steps.append(perf_counter() - start)
        self.flush()
        self.whole.append(perf_counter() - begin)


def kinds(name: str | None) -> dict[str, Kind]:
    blocking, background = CheckpointIO(), AsyncCheckpointIO()
    found = {
        "lt, blocking": Kind(blocking.save_checkpoint, blocking.flush),
        "lt, in the background": Kind(background.save_checkpoint, background.flush),
        "`torch.save`, for comparison": Kind(torch.save, lambda: None),
    }
    if name is None:
        return found
    home = f"{name}.pytorch" if name == "lightning" else name
    try:
        plugins = import_module(f"{home}.plugins.io")
    except ImportError:
        print(f"`{name}` is not installed here, so its rows are left out.")
        return found
    own, behind = plugins.TorchCheckpointIO(), plugins.AsyncCheckpointIO(plugins.TorchCheckpointIO())
    found[f"{name}, blocking"] = Kind(own.save_checkpoint, lambda: None)

    def wait() -> None:
        behind._executor.submit(lambda: None).result()  # it has no other way to wait and go on

    found[f"{name}, in the background"] = Kind(behind.save_checkpoint, wait)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--beside", metavar="NAME", help="a package with Lightning's interface, e.g. lightning")
    parser.add_argument("--parameters", type=int, default=10_000_000)
    parser.add_argument("--saves", type=int, default=4, help="of each kind; the first one is not counted")
    parser.add_argument("--folder", type=Path, help="where the files go")
    given, _ = parser.parse_known_args()
    folder = Path(tempfile.mkdtemp(dir=given.folder))
    try:
        report(given, folder)
    finally:
        shutil.rmtree(folder)


def report(given: argparse.Namespace, folder: Path) -> None:
    training = Training(given.parameters)
    training.step()
    alone = []
    for _ in range(4):
        start = perf_counter()
        training.step()
        alone.append(perf_counter() - start)
    every = kinds(given.beside)
    for _ in range(given.saves):
        for i, kind in enumerate(every.values()):
            kind.measure(training, f"{folder}/{i}.ckpt")
    load(f"{folder}/1.ckpt", map_location="meta")  # checked in full
    size = Path(f"{folder}/0.ckpt").stat().st_size
    rows = [["a step without a save", "", f"{median(alone) * 1e3:.0f}", ""]]
    for name, kind in every.items():
        first = f"{kind.stalls[0] * 1e3:.0f}"
        times = [median(values[1:]) * 1e3 for values in (kind.stalls, kind.steps, kind.whole)]
        rows.append([name, f"{times[0]:.0f} ({first})", *(f"{t:.0f}" for t in times[1:])])
    head = ["milliseconds", "a step waits (the first time)", "a step meanwhile", "until it is on disk"]
    print_table(f"Saving {size / 1e6:,.0f} MB, {given.saves} times each in turn", head, rows)


if __name__ == "__main__":
    main()
