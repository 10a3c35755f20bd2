"""One command of `lt-cli` from arguments to exit status: choose classes, parse, build, run."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from typing import Any

from lt_interfaces import is_overridden

from lt_cli.class_reference import chosen_classes, import_named, load_class, registered_class
from lt_cli.commands import DONE, USAGE
from lt_cli.failures import UsageError, complain
from lt_cli.parser import LightningArgumentParser
from lt_cli.program import Ended, Program
from lt_cli.trust import paths_in
from lt_cli.tune import Tune

LOADERS = {"fit": "train_dataloader", "tune": "train_dataloader", "validate": "val_dataloader"}
KINDS: dict[str, type[Program]] = {"tune": Tune}


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

    @property
    def kind(self) -> type[Program]:
        """What carries the command out."""
        return KINDS.get(self.name, Program)

    def program(self, args: Sequence[str], kind: type[Program] | None = None) -> Program:
        """The command with its classes chosen, parsed and carried out."""
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
        return (kind or self.kind)([self.prog, self.name, *rest], classes, references, {*imported, *paths_in(args)})

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


class Listed(Exception):
    """The options of a command, before anything was read from the command line."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(names)
        self.names = names


def option_names(name: str, classes: tuple[type | None, type | None, type | None]) -> list[str]:
    """The options of a command with the classes that are given or registered."""
    command = Command(name, *classes)
    try:
        command.program([], type("Options", (command.kind,), {"parse_arguments": _list_options}))
    except Listed as listed:
        return listed.names
    except UsageError:  # no class is registered: the command takes none
        pass
    return []


def _list_options(program: Program, parser: LightningArgumentParser, args: Any) -> None:
    raise Listed([name for action in parser._actions for name in action.option_strings if name.startswith("--")])
