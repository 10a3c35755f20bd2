"""The program `lt-cli`: finds the command, and answers in a blink where no class is needed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from lt_interfaces import did_you_mean

from lt_cli.commands import COMMANDS, DONE, INTERRUPTED, USAGE
from lt_cli.failures import complain


def main(
    args: Sequence[str] | None = None,
    *,
    trainer_class: type | None = None,
    model_class: type | None = None,
    data_class: type | None = None,
) -> int:
    """The exit status of the command in `args` (else `sys.argv`); classes not given are the registered ones."""
    arguments = list(sys.argv[1:] if args is None else args)
    if not arguments or arguments[0] not in COMMANDS:
        return _without_command(arguments)
    # Only now: the parser library takes longer to load than the help of the program to print.
    from lt_cli.command import Command

    try:
        return Command(arguments[0], trainer_class, model_class, data_class).run(arguments[1:])
    except KeyboardInterrupt:
        return INTERRUPTED


def _without_command(arguments: list[str]) -> int:
    if arguments and arguments[0] in ("-h", "--help"):
        parser = argparse.ArgumentParser(
            prog="lt-cli", description="Trains and applies a model.", epilog="`lt-cli fit --help` lists all options."
        )
        commands = parser.add_subparsers(metavar="command", required=True)
        for name, text in COMMANDS.items():
            commands.add_parser(name, help=text)
        parser.print_help()
        return DONE
    if not arguments or arguments[0].startswith("-"):
        remedy = "Begin with " + ", ".join(f"`{name}`" for name in COMMANDS) + "."
        complain(f"lt-cli: The command is missing. {remedy}")
    else:
        complain(f"lt-cli: There is no command `{arguments[0]}`. {did_you_mean(arguments[0], COMMANDS)}")
    return USAGE
