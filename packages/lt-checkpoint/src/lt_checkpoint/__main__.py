"""`python -m lt_checkpoint verify FILE...` says which checkpoints are good."""

import argparse
import sys

from lt_interfaces import CheckpointError

from lt_checkpoint.reading import verify


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 if every file is good, else 1."""
    parser = argparse.ArgumentParser(prog="python -m lt_checkpoint", description="Look after checkpoint files.")
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("verify", help="check every byte of checkpoint files, running nothing")
    command.add_argument("file", nargs="+")
    status = 0
    for path in parser.parse_args(arguments).file:
        try:
            verify(path)
        except (CheckpointError, OSError, NotImplementedError) as error:
            print(f"bad   {path}: {error}")
            status = 1
        else:
            print(f"good  {path}")
    return status


if __name__ == "__main__":
    sys.exit(main())
