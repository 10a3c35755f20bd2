"""The commands of a program: the help that lists them, and what is said when none is named."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence

from lt_interfaces import did_you_mean

from lt_cli.failures import UsageError


def without_command(prog: str, args: Sequence[str], commands: Mapping[str, str]) -> None:
    """Print the help if the arguments ask for it, else raise what is wrong with them."""
    first = next(iter(commands))
    if {"-h", "--help"} & {*args}:
        parser = argparse.ArgumentParser(
            prog=prog, description="Trains and applies a model.", epilog=f"`{prog} {first} --help` lists all options."
        )
        listed = parser.add_subparsers(metavar="command", required=True)
        for name, text in commands.items():
            listed.add_parser(name, help=text)
        parser.print_help()
    elif args and not args[0].startswith("-"):
        raise UsageError(f"There is no command `{args[0]}`. {did_you_mean(args[0], commands)}")
    else:
        raise UsageError("The command is missing. Begin with " + ", ".join(f"`{name}`" for name in commands) + ".")
