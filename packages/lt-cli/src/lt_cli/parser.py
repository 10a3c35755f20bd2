"""The parser of one command, its options read from the signatures and docstrings of the classes.

It knows no trainer: names, types, defaults and help come from the classes it is given.
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Any, NoReturn, Union

from jsonargparse import (  # type: ignore[attr-defined]
    ActionConfigFile,
    ArgumentParser,
    Namespace,
    set_dumper,
    set_loader,
)
from yaml import YAMLError  # type: ignore[import-untyped]

from lt_cli.annotation import members
from lt_cli.config_file import read_config
from lt_cli.failures import UsageError, complain
from lt_cli.option_names import nearest_key
from lt_cli.plain_yaml import dump, load
from lt_cli.rewording import reworded

DATA_ARGUMENTS = {"model", "train_dataloaders", "val_dataloaders", "dataloaders", "datamodule"}
MODE = "lt_yaml"
set_loader(MODE, load, (YAMLError,))
set_dumper(MODE, dump)


class ConfigFile(ActionConfigFile):
    """`--config`: the file is checked before any of it reaches the parser."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        """Merge the file's values; options after it win."""
        config = read_config(values, parser.keys(), parser.references)
        self.apply_config(parser, namespace, self.dest, dump(config))


class Parser(ArgumentParser):
    """Options of `trainer`, `model` and `data` classes, the trainer's without a prefix as well."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, "parser_mode": MODE, **kwargs})
        self.references: dict[str, str] = {}
        self.named: set[str] = set()
        self.untyped_required: set[str] = set()
        self.entry_point_keys: list[str] = []

    def add_class(self, cls: type, group: str, reference: str, named: bool) -> None:
        """Options for the arguments of a class; `named` says that the command line chose it."""
        self.references[group] = reference
        if named:
            self.named.add(group)
        self.add_class_arguments(cls, group, fail_untyped=False)
        self._entitle(group, f"{group}: {cls.__name__}")
        self.untyped_required |= {
            f"{group}.{p.name}"
            for p in inspect.signature(cls).parameters.values()
            if p.default is p.annotation is p.empty and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
        }
        if action := self._option_string_actions.get(f"--{group}"):
            action.metavar, action.help = "CLASS", f"pkg.mod:Class, pkg.mod.Class or file.py:Class (now {reference})"
        self._keep_literal_types()

    def add_entry_point(self, trainer_class: type, command: str) -> None:
        """Options for what an entry point takes besides the model and its data."""
        self.entry_point_keys = self.add_method_arguments(
            trainer_class, command, skip=DATA_ARGUMENTS, fail_untyped=False
        )
        self._entitle(command, f"{command}: {trainer_class.__name__}.{command}")
        self._keep_literal_types()

    def flatten(self, group: str) -> None:
        """Show and take the options of a group without its prefix, where the short name is free."""
        for action in self._actions:
            if not action.dest.startswith(f"{group}."):
                continue
            dotted = list(action.option_strings)
            flat = [f"--{name.removeprefix(f'--{group}.')}" for name in dotted]
            if any(name in self._option_string_actions for name in flat):
                continue
            for old, new in zip(dotted, flat, strict=True):
                del self._option_string_actions[old]
                self._option_string_actions[new] = action
            action.option_strings = [name for name in flat if not name.endswith("+")]

    def keys(self) -> set[str]:
        """The dotted names of all settings."""
        skipped = (argparse._HelpAction, ActionConfigFile)
        found = {a.dest for a in self._actions if a.dest != argparse.SUPPRESS and not isinstance(a, skipped)}
        return {key for key in found if not key.endswith(".help")}

    def normalize(self, args: Iterable[str]) -> list[str]:
        """The arguments with option names as this parser has them, a bare flag of a bool made `=true`."""
        given = list(args)
        result = []
        for argument, following in zip_longest(given, given[1:], fillvalue="--"):
            if not argument.startswith("--") or argument == "--":
                result.append(argument)
                continue
            name, equals, value = argument.partition("=")
            name = self._known_option(name)
            action = self._option_string_actions.get(name)
            if not equals and re.match(r"-[-a-zA-Z]", following) and {bool, Any} & {*_types(action)}:
                equals, value = "=", "true"
            result.append(name + equals + value)
        return result

    def settings(self, args: list[str]) -> Namespace:
        """What the arguments and their config files say, and nothing else: the classes keep their own defaults."""
        # A printed config shows the defaults too.
        printing = any(argument.startswith("--print_config") for argument in args)
        config = self.parse_args(args, defaults=printing)
        if missing := sorted(key for key in self.untyped_required if key not in config):
            self.error(f"arguments are required: {', '.join(missing)}")
        return config

    def dump(self, *args: Any, **kwargs: Any) -> str:
        """The settings as YAML; a class chosen on the command line is written down with its arguments."""
        values = load(super().dump(*args, **kwargs)) or {}
        for group in self.named:
            values[group] = {"class_path": self.references[group], "init_args": values.get(group) or {}}
        return dump(values)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Say it on rank zero, exit with status 2."""
        if not self.exit_on_error:
            # One of jsonargparse's own attempts at a value, which it catches.
            super().error(message, ex)
        complain(f"{self.prog}: {reworded(message, self.prog, self._action)}")
        sys.exit(2)

    def _entitle(self, group: str, title: str) -> None:
        if self.groups and group in self.groups:
            self.groups[group].title = title

    def _action(self, key: str) -> argparse.Action | None:
        return next((a for a in self._actions if a.dest == key), None)

    def _known_option(self, option: str) -> str:
        name = option[2:].replace("-", "_")
        candidates = [f"--{name}", f"--{name.removeprefix('trainer.')}"]
        groups = {f"--{group}" for group in self.references}
        for candidate in candidates:
            parts = candidate.split(".")
            prefixes = {".".join(parts[: n + 1]) for n in range(len(parts))} - groups
            if candidate in self._option_string_actions or not prefixes.isdisjoint(self._option_string_actions):
                return candidate
        known = {n[2:] for n in self._option_string_actions if n.startswith("--")} - {*self.references}
        match = nearest_key(name, known)
        remedy = f"Did you mean `--{match}`?" if match else f"`{self.prog} --help` lists all options."
        raise UsageError(f"There is no option `{option}`. {remedy}")

    def _keep_literal_types(self) -> None:
        # 1 is an int and 1.0 a float, whatever the order in the annotation: one batch, or all of them.
        for action in self._actions:
            types = _types(action)
            if int in types and len(types) > 1:
                order = sorted(types, key=lambda t: (float, str).index(t) + 1 if t in (float, str) else 0)
                action._typehint = Union[tuple(order)]  # type: ignore[attr-defined]  # noqa: UP007


def chosen_classes(args: Sequence[str], groups: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """The class references given as `--model X` or `--model=X`, by group, and the other arguments."""
    flags = {f"--{group}": group for group in groups}
    chosen: dict[str, str] = {}
    rest: list[str] = []
    remaining = iter(args)
    for argument in remaining:
        name, equals, value = argument.partition("=")
        if name not in flags:
            rest.append(argument)
            continue
        value = value if equals else next(remaining, "")
        if not value or value.startswith("--"):
            raise UsageError(f"`{name}` needs a class. Write `{name} pkg.mod:Class` or `{name} file.py:Class`.")
        chosen[flags[name]] = value
    return chosen, rest


def paths_in(args: Iterable[str]) -> set[str]:
    """The packages of the import paths among the values on a command line, the standard library's left out."""
    path = re.compile(r"""(?:^|=|"class_path": ?")([a-zA-Z_][\w.]*\.\w+)(?:$|")""")
    found = {match[1].partition(".")[0] for argument in args for match in path.finditer(argument)}
    return found - sys.stdlib_module_names - {"jsonargparse"}


def _types(action: argparse.Action | None) -> tuple[Any, ...]:
    return members(getattr(action, "_typehint", getattr(action, "type", None)))
