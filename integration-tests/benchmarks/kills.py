"""Kill training at random instants, also while it saves, resume it until it ends, and compare with a run in peace.

`--kills N` in all, `--only WORD` for the configurations whose name has it, `--keep FOLDER` for what was left.
"""

import argparse
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parents[1]
sys.path[:0] = [str(HERE), str(HERE / "startup")]

import torch
import torchvision_without_cuda

torchvision_without_cuda.install()

from kill_and_resume import campaign
from killed_runs import TRIALS


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=26)
    parser.add_argument("--only", default="")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path)
    options, _ = parser.parse_known_args()
    torch.set_num_threads(1)
    trials = [trial for name, trial in TRIALS.items() if options.only in name]
    root = options.keep or Path(tempfile.mkdtemp())
    print(
        f"{'configuration':32}{'kills':>6}{'in saves':>9}{'resumed':>8}{'bit-equal':>10}{'unreadable':>11}{'lost':>5}"
    )
    totals, wrong = [0] * 6, []
    for i, trial in enumerate(trials):
        kills = options.kills * (i + 1) // len(trials) - options.kills * i // len(trials)
        tally = campaign(trial, kills, root / trial.name.replace(" ", "-").replace(",", ""), options.seed)
        row = [tally.kills, tally.in_saves, tally.resumed, tally.equal, tally.unreadable, tally.lost]
        totals = [a + b for a, b in zip(totals, row, strict=True)]
        wrong += tally.differences
        print(line(trial.name, row), flush=True)
    print(line(f"all (seed {options.seed})", totals), *wrong, sep="\n")
    return bool(wrong)


def line(name: str, row: list[int]) -> str:
    return f"{name:32}" + "".join(f"{n:>{w}}" for n, w in zip(row, (6, 9, 8, 10, 11, 5), strict=True))


if __name__ == "__main__":
    sys.exit(main())
