"""Seconds from the end of one of two ranks to the end of the whole group, for each kind of end and launcher.

`--only WORD` for launchers whose name has it, `--place PLACE` for where ranks end: step, validation, save or barrier.
"""

import argparse
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parents[1]
sys.path[:0] = [str(HERE), str(HERE / "startup")]

import torchvision_without_cuda  # noqa: E402

torchvision_without_cuda.install()

from mortal_ranks import KINDS, LAUNCHERS, PLACES, die  # noqa: E402

LIMIT = 10.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="")
    parser.add_argument("--place", choices=PLACES, default="step")
    options, _ = parser.parse_known_args()
    wrong = []
    print(f"{'launcher':12}" + "".join(f"{kind:>10}" for kind in KINDS) + f"   (rank 1 in a {options.place})")
    for launcher in LAUNCHERS:
        if options.only not in launcher:
            continue
        row = f"{launcher:12}"
        for kind in KINDS:
            death = die(Path(tempfile.mkdtemp()), launcher, kind, options.place)
            row += f"{death.seconds:9.1f}s"
            if death.status == 0 or death.orphans or death.seconds > LIMIT:
                wrong.append(f"{launcher}, {kind}: status {death.status}, left over {death.orphans}")
        print(row, flush=True)
    print(*wrong, f"The limit is {LIMIT:g} s, a status that is not zero, and nobody left over.", sep="\n")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
