"""How long a person waits for help and completion, beside a `LightningCLI` script; processes in turn, in a table."""

import argparse
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from statistics import median

from measuring.report import print_table

SCRIPT = """
import torch
from {package} import LightningModule
from {package}.cli import LightningCLI


class Net(LightningModule):
    def __init__(self, hidden: int = 32, lr: float = 1e-3):
        super().__init__()


LightningCLI(Net)
"""


def seconds(words: list[str], cache: str, byte_code: str) -> float:
    """Wall-clock seconds of one process that must succeed."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": cache, "PYTHONPYCACHEPREFIX": byte_code}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # compiling is no part of a second start
    start = time.perf_counter()
    done = subprocess.run(words, capture_output=True, text=True, env=environment)
    passed = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError(f"{words} failed:\n{done.stderr}")
    return passed


def script(folder: Path, package: str) -> str:
    """The file of a script over a package's `LightningCLI`."""
    path = folder / f"{package.replace('.', '_')}_script.py"
    path.write_text(SCRIPT.format(package=package))
    return str(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--beside", metavar="NAME", help="a package with Lightning's interface, e.g. lightning")
    parser.add_argument("--beside_python", metavar="FILE", default=sys.executable, help="the interpreter that has it")
    parser.add_argument("--repeats", type=int, default=7)
    given, _ = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        program = str(Path(sysconfig.get_path("scripts")) / "lt-cli")
        programs = {
            "python alone": [sys.executable, "-c", "pass"],
            "`lt-cli --help`": [program, "--help"],
            "`lt-cli fit --help`": [program, "fit", "--help"],
            "`lt-cli fit --help`, the first one": [program, "fit", "--help"],
            "`lt-cli completion bash`": [program, "completion", "bash"],
            "`lt-cli config`": [program, "config"],
            "a script of `lt.cli.LightningCLI`, `fit --help`": [sys.executable, script(folder, "lt"), "fit", "--help"],
        }
        if given.beside and (given.beside_python != sys.executable or find_spec(given.beside)):
            home = "lightning.pytorch" if given.beside == "lightning" else given.beside
            words = [given.beside_python, script(folder, home), "fit", "--help"]
            programs[f"a script of `{home}.cli.LightningCLI`, `fit --help`"] = words
        found: dict[str, list[float]] = {name: [] for name in programs}
        for turn in range(given.repeats + 1):
            for name, words in programs.items():
                cache = f"cache{turn}" if name.endswith("first one") else "cache"
                passed = seconds(words, str(folder / cache), str(folder / "byte_code"))
                if turn:  # the turn before the first fills caches
                    found[name].append(passed)
    rows = [[name, f"{median(times):.3f} ({min(times):.3f} to {max(times):.3f})"] for name, times in found.items()]
    print_table("Waiting for help", ["whole process", "seconds (least to most)"], rows)


if __name__ == "__main__":
    main()
