"""A command line as a person types it, spelled as the parser has it: short names, hyphens, files for a group."""

from __future__ import annotations

import argparse
import os
import re
from itertools import zip_longest
from types import NoneType
from typing import Any

from lt_interfaces import did_you_mean

from lt_cli.annotation import class_names, members
from lt_cli.failures import UsageError
from lt_cli.lazy_classes import all_class_names, import_named_in
from lt_cli.old_options import instead_of
from lt_cli.option_names import nearest_key
from lt_cli.plugs import import_path


def option_types(action: argparse.Action | None) -> tuple[Any, ...]:
    """The types that an option takes; none for a group of options."""
    return members(getattr(action, "_typehint", getattr(action, "type", None)))


class Spelling:
    """The names that a parser knows, and what of it a command line gives."""

    def __init__(self, parser: Any) -> None:
        self.parser = parser
        self.options: dict[str, argparse.Action] = parser._option_string_actions

    def normalized(self, args: list[str]) -> list[str]:
        """The arguments with option names as the parser has them, a bare flag of a bool made `=true`."""
        import_named_in(" ".join(args))
        given = self._with_group_files(args)
        result: list[str] = []
        kind = ""
        for argument, following in zip_longest(given, given[1:], fillvalue="--"):
            if not argument.startswith("--") or argument == "--":
                result.append(str(import_path(kind, argument)))
                continue
            name, equals, value = argument.partition("=")
            name = self._known_option(name, value or following)
            action = self.options.get(name)
            self.parser.given.add(action.dest if action else name[2:])
            # A name alone is the trainer's to resolve; one with arguments is a class.
            has_arguments = any(other.startswith(f"{argument.partition('=')[0].rstrip('+')}.") for other in given)
            kind = name.strip("-+") if has_arguments else ""
            if has_arguments:
                self._check_class_name(name, import_path(kind, value or following))
            if not equals and re.match(r"-[-a-zA-Z]", following) and {bool, Any} & {*option_types(action)}:
                equals, value = "=", "true"
            result.append(f"{name}{equals}{import_path(kind, value)}")
        return result

    def _with_group_files(self, args: list[str]) -> list[str]:
        """The arguments with a config file in the place of `--model FILE`, for each group of one class."""
        result: list[str] = []
        remaining = iter(args)
        for argument in remaining:
            name, equals, value = argument.partition("=")
            if name.startswith("--") and name[2:] in self.parser.references:
                value = value if equals else next(remaining, "")
                argument = f"{name}={value}"
                if os.path.isfile(value):
                    self.parser.group_files[argument] = (name[2:], value)
                    argument = f"--config={argument}"
                elif not value.startswith("{"):
                    raise UsageError(
                        f"`{name}` takes a config file, got {value!r}. Give single arguments as `{name}.NAME VALUE`."
                    )
            result.append(argument)
        return result

    def _check_class_name(self, option: str, name: str) -> None:
        types = option_types(self.options.get(option))
        if name.isidentifier() and name not in class_names(types) and (known := all_class_names(types)):
            raise UsageError(f"`{option.rstrip('+')}` knows no class `{name}`. {did_you_mean(name, known)}")

    def _known_option(self, option: str, value: str) -> str:
        name = option[2:].replace("-", "_")
        candidates = [f"--{name}", f"--{name.removeprefix('trainer.')}"]
        groups = {f"--{group}" for group in self.parser.groups or ()}
        groups = {group for group in groups if not option_types(self.options.get(group))}
        for candidate in candidates:
            parts = candidate.split(".")
            prefixes = {".".join(parts[: n + 1]) for n in range(len(parts))} - groups
            if candidate in self.options:
                return candidate
            if owner := next(iter(prefixes & self.options.keys()), None):
                if {*option_types(self.options[owner])} <= {Any, NoneType}:
                    raise UsageError(f"`{owner}` takes no class with arguments. Leave `{option}` out.")
                return candidate
        if instead := instead_of(name, value):
            raise UsageError(f"`{option}` is an old spelling. {instead}")
        known = {n[2:] for n in self.options if n.startswith("--")} - {*self.parser.references}
        match = nearest_key(name, known)
        remedy = f"Did you mean `--{match}`?" if match else f"`{self.parser.prog} --help` lists all options."
        raise UsageError(f"There is no option `{option}`. {remedy}")
