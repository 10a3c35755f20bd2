"""The program `lt-cli`: finds the command, and answers in a blink where no class is needed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from lt_cli.answers import answer, is_constant
from lt_cli.class_reference import registered
from lt_cli.commands import COMMANDS, DONE, FAILED, INTERRUPTED, OTHERS, USAGE
from lt_cli.completion import SHELLS, completion_script
from lt_cli.failures import UsageError, complain
from lt_cli.overview import without_command

ALL = {**COMMANDS, **OTHERS}


def main(
    args: Sequence[str] | None = None,
    *,
    trainer_class: type | None = None,
    model_class: type | None = None,
    data_class: type | None = None,
) -> int:
    """The exit status of the command in `args` (else `sys.argv`); classes not given are the registered ones."""
    arguments = list(sys.argv[1:] if args is None else args)
    if not arguments or arguments[0] not in ALL:
        return _without_command(arguments)
    classes = (trainer_class, model_class, data_class)
    try:
        if not any(classes) and is_constant(arguments):
            return answer(arguments, lambda: _command(arguments, classes))
        return _command(arguments, classes)
    except KeyboardInterrupt:
        return INTERRUPTED


def _command(arguments: list[str], classes: tuple[Any, ...]) -> int:
    name, *rest = arguments
    if name == "report":
        return _report(rest)
    if name == "completion":
        return _completion(rest, classes)
    if name == "config":
        name = rest.pop(0) if rest and rest[0] in COMMANDS else "fit"
        rest.append("--print_config")
    # Only now: the parser library takes longer to load than the help of the program to print.
    from lt_cli.command import Command

    return Command(name, *classes).run(rest)


def _report(args: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="lt-cli report", description=f"{OTHERS['report'].capitalize()}.")
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folder of a run, e.g. lightning_logs/version_0")
    parser.add_argument("--file", help="where to write; report.html in the run, or comparison.html here, if not given")
    given = parser.parse_args(args)
    write_report = registered("report")
    if write_report is None:
        complain("lt-cli report: No installed package writes reports. Run `pip install lt`.")
        return USAGE
    try:
        print(write_report(*given.runs, file=given.file))
    except (OSError, ValueError) as error:
        complain(f"lt-cli report: {error}")
        return FAILED
    return DONE


def _completion(args: list[str], classes: tuple[Any, ...]) -> int:
    parser = argparse.ArgumentParser(
        prog="lt-cli completion", description='Print a script: `eval "$(lt-cli completion bash)"`.'
    )
    parser.add_argument("shell", choices=SHELLS)
    shell = parser.parse_args(args).shell
    from lt_cli.command import option_names

    print(completion_script(shell, list(ALL), {name: option_names(name, classes) for name in COMMANDS}), end="")
    return DONE


def _without_command(arguments: list[str]) -> int:
    try:
        without_command("lt-cli", arguments, ALL)
    except UsageError as error:
        complain(f"lt-cli: {error}")
        return USAGE
    return DONE
