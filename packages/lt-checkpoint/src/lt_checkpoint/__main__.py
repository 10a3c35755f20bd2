"""`python -m lt_checkpoint verify FILE...` says which are good, `consolidate FOLDER FILE` makes one file of shards."""

import argparse
import sys
from collections.abc import Callable

from lt_interfaces import CheckpointError

from lt_checkpoint.reading import load, verify
from lt_checkpoint.saving import save


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 if every checkpoint is good, else 1."""
    parser = argparse.ArgumentParser(prog="python -m lt_checkpoint", description="Look after checkpoints.")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("verify", help="check every byte of checkpoints, running nothing")
    command.add_argument("file", nargs="+")
    command = commands.add_parser("consolidate", help="make one ordinary checkpoint file of a sharded checkpoint")
    command.add_argument("folder")
    command.add_argument("file", nargs=1)
    given = parser.parse_args(arguments)
    if given.command == "consolidate":
        return _status(given.folder, lambda: save(load(given.folder), given.file[0]))
    return max([_status(path, lambda path=path: verify(path)) for path in given.file])  # type: ignore[misc]


def _status(path: str, task: Callable[[], None]) -> int:
    try:
        task()
    except (CheckpointError, OSError, NotImplementedError, ImportError, ValueError) as error:
        print(f"bad   {path}: {error}")
        return 1
    print(f"good  {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
