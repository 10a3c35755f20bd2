"""Kill training at random instants, also while it saves, resume it until it ends, and compare with a run in peace.

`--kills N` in all, `--only WORD` for the configurations whose name has it, `--keep FOLDER` for what was left.
`--framework lightning` or `lt` trains something that both can instead, for a comparison; each has to be installed.
"""

import argparse
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parents[1]
sys.path[:0] = [str(HERE), str(HERE / "startup")]

import torch  # noqa: E402
import torchvision_without_cuda  # noqa: E402

torchvision_without_cuda.install()

from either_framework import trials as trials_of_either  # noqa: E402
from killed_runs import TRIALS  # noqa: E402
from lt.testing.campaign import campaign  # noqa: E402

NAMES = ("kills", "in saves", "resumed", "bit-equal", "unreadable", "lost", "order", "weights")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=26)
    parser.add_argument("--only", default="")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--term", action="store_true", help="by SIGTERM, which saves and exits")
    parser.add_argument("--framework", choices=["lt", "lightning"], help="what both can train, under one of them")
    options, _ = parser.parse_known_args()
    torch.set_num_threads(1)
    by = signal.SIGTERM if options.term else signal.SIGKILL
    available = trials_of_either(options.framework) if options.framework else list(TRIALS.values())
    trials = [trial for trial in available if options.only in trial.name]
    root = options.keep or Path(tempfile.mkdtemp())
    print(line("configuration", NAMES))
    totals, wrong = [0] * 8, []
    for i, trial in enumerate(trials):
        kills = options.kills * (i + 1) // len(trials) - options.kills * i // len(trials)
        tally = campaign(trial, kills, root / trial.name.replace(" ", "-").replace(",", ""), options.seed, by=by)
        row = [tally.kills, tally.in_saves, tally.resumed, tally.equal, tally.unreadable, tally.lost]
        row += [tally.alike["batches"] + tally.alike["order"], tally.alike["weights"]]
        totals = [a + b for a, b in zip(totals, row, strict=True)]
        wrong += tally.differences
        print(line(trial.name, row), flush=True)
    print(line(f"all (seed {options.seed})", totals), *wrong, sep="\n")
    return bool(wrong)


def line(name: str, row: Sequence[object]) -> str:
    return f"{name:32}" + "".join(f"{n:>{w}}" for n, w in zip(row, (6, 10, 9, 11, 12, 6, 7, 9), strict=True))


if __name__ == "__main__":
    sys.exit(main())
