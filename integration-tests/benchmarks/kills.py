"""Kill training at random instants, also while it saves, resume it until it ends, and compare with a run in peace.

`--kills N` in all, `--only WORD` for the configurations whose name has it, `--keep FOLDER` for what was left.
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

from kill_and_resume import campaign  # noqa: E402
from killed_runs import TRIALS  # noqa: E402

NAMES = ("kills", "in saves", "resumed", "bit-equal", "unreadable", "lost")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=26)
    parser.add_argument("--only", default="")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--term", action="store_true", help="by SIGTERM, which saves and exits")
    options, _ = parser.parse_known_args()
    torch.set_num_threads(1)
    by = signal.SIGTERM if options.term else signal.SIGKILL
    trials = [trial for name, trial in TRIALS.items() if options.only in name]
    root = options.keep or Path(tempfile.mkdtemp())
    print(line("configuration", NAMES))
    totals, wrong = [0] * 6, []
    for i, trial in enumerate(trials):
        kills = options.kills * (i + 1) // len(trials) - options.kills * i // len(trials)
        tally = campaign(trial, kills, root / trial.name.replace(" ", "-").replace(",", ""), options.seed, by=by)
        row = [tally.kills, tally.in_saves, tally.resumed, tally.equal, tally.unreadable, tally.lost]
        totals = [a + b for a, b in zip(totals, row, strict=True)]
        wrong += tally.differences
        print(line(trial.name, row), flush=True)
    print(line(f"all (seed {options.seed})", totals), *wrong, sep="\n")
    return bool(wrong)


def line(name: str, row: Sequence[object]) -> str:
    return f"{name:32}" + "".join(f"{n:>{w}}" for n, w in zip(row, (6, 10, 9, 11, 12, 6), strict=True))


if __name__ == "__main__":
    sys.exit(main())
