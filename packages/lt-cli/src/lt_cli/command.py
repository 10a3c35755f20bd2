"""One command of `lt-cli` from arguments to exit status: choose classes, parse, build, run."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

from lt_interfaces import is_overridden

from lt_cli.class_reference import chosen_classes, import_named, load_class, registered_class
from lt_cli.commands import DONE, FAILED, USAGE
from lt_cli.failures import UsageError, complain, is_deliberate, packages_of
from lt_cli.lightning_cli import LightningCLI
from lt_cli.parser import LightningArgumentParser
from lt_cli.plugs import packages_offering
from lt_cli.trust import paths_in, trust

LOADERS = {"fit": "train_dataloader", "validate": "val_dataloader"}


class Ended(Exception):
    """The command is over; what there was to say has been said."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Command:
    """One of the commands, over any classes: `run(args)` returns the exit status."""

    def __init__(
        self,
        name: str,
        trainer_class: type | None = None,
        model_class: type | None = None,
        data_class: type | None = None,
        prog: str = "lt-cli",
    ) -> None:
        self.name = name
        self.prog = prog
        self.defaults = {"trainer": trainer_class, "model": model_class, "data": data_class}

    def run(self, args: Sequence[str]) -> int:
        """Parse, build and run; 0 is done, 1 a failed run, 2 wrong usage, 130 an interrupt."""
        try:
            self.program(args)
        except UsageError as error:
            complain(f"{self.prog} {self.name}: {error}")
            return USAGE
        except Ended as ended:
            return ended.status
        return DONE

    def program(self, args: Sequence[str], kind: type[Program] | None = None) -> Program:
        """The command with its classes chosen, parsed and carried out, by a kind of program."""
        try:
            references, imports, rest = chosen_classes(args, self.defaults)
            imported = {import_named(reference) for reference in imports}
            classes = self.choose(references)
        except UsageError:
            raise
        except Exception:
            # Out of the module that a class was imported from.
            traceback.print_exc()
            raise Ended(USAGE) from None
        return (kind or Program)([self.prog, self.name, *rest], classes, references, {*imported, *paths_in(args)})

    def choose(self, references: dict[str, str]) -> dict[str, type]:
        """The classes of the command line, else those given to this command, else the registered ones."""
        found = {group: load_class(reference) for group, reference in references.items()}
        chosen = {**{group: cls for group, cls in self.defaults.items() if cls}, **found}
        loader = LOADERS.get(self.name, f"{self.name}_dataloader")
        own_data = "model" in chosen and is_overridden(chosen["model"], loader)
        for group in self.defaults.keys() - chosen.keys() - ({"data"} if own_data else set()):
            if cls := registered_class(group):
                chosen[group] = cls
        for group in ("trainer", "model"):
            if group not in chosen:
                raise UsageError(f"There is no {group} class. Name one with `--{group} pkg.mod:Class`.")
        return chosen


class Program(LightningCLI):
    """The command line of `lt-cli`: classes named on it, failures told in a sentence where that is enough."""

    def __init__(
        self, line: list[str], classes: Mapping[str, type], references: Mapping[str, str], packages: set[str]
    ) -> None:
        self.references, self.packages = references, packages
        self.framework = packages_of(classes["trainer"])
        self.classes = classes
        super().__init__(
            classes["model"],
            classes.get("data"),
            trainer_class=classes["trainer"],
            parser_kwargs={"prog": line[0]},
            args=line[1:],
        )

    def trust(self, args: Any) -> None:
        """Config files may name what the command line or an installed package named."""
        trust(self.classes.values(), (), self.packages | packages_offering())

    def add_core_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Say that the command line names the classes, and may name modules."""
        super().add_core_arguments_to_parser(parser)
        for group in self.classes:
            parser.let_choose(group)
        parser.named |= {*self.references}
        parser.epilog = "`--import pkg.mod` or `--import file.py` lets config files and short names reach its classes."

    def instantiate_classes(self) -> None:
        """Build everything; what a class refuses is wrong usage."""
        try:
            super().instantiate_classes()
        except Exception as error:
            ours = self.framework | packages_of(*self.classes.values())
            self._tell(error, is_deliberate(error, ours, through_others=True))
            raise Ended(USAGE) from None

    def _refuse(self, error: UsageError) -> None:
        raise error

    def _set_seed(self) -> None:
        try:
            super()._set_seed()
        except UsageError:
            raise
        except Exception as error:
            self._tell(error, is_deliberate(error, self.framework))
            raise Ended(USAGE) from None

    def _run_subcommand(self, subcommand: str) -> None:
        try:
            result = super()._run_subcommand(subcommand)
        except Exception as error:
            self._tell(error, is_deliberate(error, self.framework))
            raise Ended(FAILED) from None
        if subcommand == "predict" and getattr(self.trainer, "is_global_zero", True):
            for output in result or ():
                print(output)

    def _tell(self, error: Exception, in_a_sentence: bool) -> None:
        if in_a_sentence:
            print(f"{self.prog}: {error}", file=sys.stderr)
        else:
            traceback.print_exception(error)


class Listed(Exception):
    """The options of a command, before anything was read from the command line."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(names)
        self.names = names


class Options(Program):
    """A program that goes no further than its options."""

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Raise the names."""
        raise Listed([name for action in parser._actions for name in action.option_strings if name.startswith("--")])


def option_names(name: str, classes: tuple[type | None, type | None, type | None]) -> list[str]:
    """The options of a command with the classes that are given or registered."""
    try:
        Command(name, *classes).program([], Options)
    except Listed as listed:
        return listed.names
    return []
