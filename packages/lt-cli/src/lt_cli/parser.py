"""The parser of one command, its options read from the signatures and docstrings of the classes.

It knows no trainer: names, types, defaults and help come from the classes it is given.
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from collections.abc import Callable, Iterable
from itertools import zip_longest
from types import NoneType
from typing import Any, NoReturn, Union

from jsonargparse import (  # type: ignore[attr-defined]
    ActionConfigFile,
    ArgumentParser,
    Namespace,
    set_dumper,
    set_loader,
)
from jsonargparse.typing import class_from_function
from lt_interfaces import Callback, did_you_mean
from yaml import YAMLError  # type: ignore[import-untyped]

from lt_cli.annotation import class_names, members
from lt_cli.config_file import line_of, read_config
from lt_cli.failures import UsageError, complain
from lt_cli.old_options import instead_of
from lt_cli.option_names import nearest_key
from lt_cli.plain_yaml import dump, load
from lt_cli.plugs import import_path, with_import_paths
from lt_cli.rewording import reworded

PLAIN = (bool, int, float, str, bytes, complex, NoneType)
MODE = "lt_yaml"
set_loader(MODE, load, (YAMLError,))
set_dumper(MODE, dump)


class ConfigFile(ActionConfigFile):
    """`--config`: the file is checked before any of it reaches the parser."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        """Merge the file's values; options after it win."""
        config = read_config(values, parser.keys(), parser.references, parser.command)
        parser.config_files.append(values)
        self.apply_config(parser, namespace, self.dest, dump(with_import_paths(config)))


class LightningArgumentParser(ArgumentParser):
    """Options of `trainer`, `model` and `data` classes, the trainer's without a prefix as well."""

    def __init__(self, *args: Any, command: str | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, "parser_mode": MODE, **kwargs})
        self.command = command
        self.references: dict[str, str] = {}
        self.named: set[str] = set()
        self.untyped_required: set[str] = set()
        self.entry_point_keys: list[str] = []
        self.callback_keys: list[str] = []
        self.optimizers: dict[str, tuple[Any, str]] = {}
        self.lr_schedulers: dict[str, tuple[Any, str]] = {}
        self.config_files: list[str] = []
        self.given: set[str] = set()

    def add_lightning_class_args(
        self,
        lightning_class: Callable[..., Any],
        nested_key: str,
        subclass_mode: bool = False,
        required: bool = True,
        *,
        instantiate: bool = True,
        reference: str | None = None,
    ) -> list[str]:
        """Options for the arguments of a class or function; their names.

        In subclass mode the command line names the class, which may be any subclass. A callback goes to the trainer.
        `reference` is how the command line named the class.
        """
        if isinstance(lightning_class, type):
            cls: type = lightning_class
            if issubclass(cls, Callback):
                self.callback_keys.append(nested_key)
        else:
            cls = class_from_function(lightning_class)
        if subclass_mode:
            self.add_subclass_arguments(cls, nested_key, fail_untyped=False, instantiate=instantiate, required=required)
            return [nested_key]
        self.references[nested_key] = reference or f"{cls.__module__}.{cls.__qualname__}"
        added = self.add_class_arguments(cls, nested_key, fail_untyped=False, instantiate=instantiate, sub_configs=True)
        self._entitle(nested_key, f"{nested_key}: {cls.__name__}")
        self.untyped_required |= {
            f"{nested_key}.{p.name}"
            for p in inspect.signature(cls).parameters.values()
            if p.default is p.annotation is p.empty and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
        }
        self._keep_literal_types()
        return list(added)

    def add_optimizer_args(
        self, optimizer_class: Any = None, nested_key: str = "optimizer", link_to: str = "AUTOMATIC"
    ) -> None:
        """`--optimizer NAME`, of any class or of those given; linked to `configure_optimizers` or to an argument."""
        from lt_cli.optimizers import OPTIMIZERS

        self._add_chosen(self.optimizers, optimizer_class or OPTIMIZERS, nested_key, link_to, "params")

    def add_lr_scheduler_args(
        self, lr_scheduler_class: Any = None, nested_key: str = "lr_scheduler", link_to: str = "AUTOMATIC"
    ) -> None:
        """`--lr_scheduler NAME`, of any class or of those given; linked like the optimizer."""
        from lt_cli.optimizers import SCHEDULERS

        self._add_chosen(self.lr_schedulers, lr_scheduler_class or SCHEDULERS, nested_key, link_to, "optimizer")

    def _add_chosen(self, into: dict[str, Any], classes: Any, key: str, link_to: str, skip: str) -> None:
        options: dict[str, Any] = {"instantiate": False, "fail_untyped": False, "skip": {skip}}
        if isinstance(classes, tuple):
            self.add_subclass_arguments(classes, key, **options)
        else:
            self.add_class_arguments(classes, key, sub_configs=True, **options)
        into[key] = (classes, link_to)

    def link_chosen(self) -> None:
        """Let optimizers and schedulers that are to go to an argument of the model go there."""
        for key, (classes, link_to) in {**self.optimizers, **self.lr_schedulers}.items():
            if link_to == "AUTOMATIC":
                continue
            if isinstance(classes, tuple):
                self.link_arguments(key, link_to)
            else:
                self.link_arguments(key, link_to, compute_fn=_Specified(classes))

    def replacing(self, kind: str, settings: Any) -> dict[str, Any] | None:
        """The chosen optimizer or scheduler that is to replace the module's own, as class and arguments."""
        for key, (classes, link_to) in getattr(self, kind).items():
            if link_to == "AUTOMATIC" and (chosen := settings.get(key)):
                found: dict[str, Any] = chosen.as_dict()
                return found if isinstance(classes, tuple) else _Specified(classes)(found)
        return None

    def let_choose(self, group: str) -> None:
        """Say in the help that the command line chooses the class of a group."""
        if action := self._option_string_actions.get(f"--{group}"):
            now = self.references[group]
            action.metavar, action.help = "CLASS", f"pkg.mod:Class, pkg.mod.Class or file.py:Class (now {now})"

    def add_entry_point(self, trainer_class: type, command: str, skip: set[str]) -> None:
        """Options for what an entry point takes besides the model and its data."""
        taken = inspect.signature(getattr(trainer_class, command)).parameters
        self.entry_point_keys = self.add_method_arguments(
            trainer_class, command, skip=skip & taken.keys(), fail_untyped=False
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

    def normalize(self, args: Iterable[Any]) -> list[str]:
        """The arguments with option names as this parser has them, a bare flag of a bool made `=true`."""
        given = [str(argument) for argument in args]
        result: list[str] = []
        kind = ""
        for argument, following in zip_longest(given, given[1:], fillvalue="--"):
            if not argument.startswith("--") or argument == "--":
                result.append(str(import_path(kind, argument)))
                continue
            name, equals, value = argument.partition("=")
            name = self._known_option(name, value or following)
            action = self._option_string_actions.get(name)
            self.given.add(action.dest if action else name[2:])
            # A name alone is the trainer's to resolve; one with arguments is a class.
            has_arguments = any(other.startswith(f"{argument.partition('=')[0].rstrip('+')}.") for other in given)
            kind = name.strip("-+") if has_arguments else ""
            if has_arguments:
                self._check_class_name(name, import_path(kind, value or following))
            if not equals and re.match(r"-[-a-zA-Z]", following) and {bool, Any} & {*_types(action)}:
                equals, value = "=", "true"
            result.append(f"{name}{equals}{import_path(kind, value)}")
        return result

    def settings(self, args: list[str]) -> Namespace:
        """All settings: defaults, config files, environment and arguments, the later over the earlier."""
        config = self.parse_args(args)
        self.check_required(config)
        return config

    def check_required(self, config: Namespace) -> None:
        """Exit if an argument without default and type was not given."""
        known = self.keys()
        if missing := sorted(k for k in self.untyped_required & known if config.get(k) is None):
            self.error(f"arguments are required: {', '.join(missing)}")

    def dump(self, *args: Any, **kwargs: Any) -> str:
        """The settings as YAML; a class chosen on the command line is written down with its arguments."""
        if "skip_none" in kwargs:  # its name in the library until 4.50, and in scripts
            kwargs["skip_unset"] = kwargs.pop("skip_none")
        values = load(super().dump(*args, **kwargs)) or {}
        for group in self.named:
            values[group] = {"class_path": self.references[group], "init_args": values.get(group) or {}}
        return dump(values)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Say it on rank zero, exit with status 2."""
        if not self.exit_on_error:
            # One of jsonargparse's own attempts at a value, which it catches.
            super().error(message, ex)
        told = reworded(message, self.prog, self._action)
        where = self._where(told.key)
        complain(f"{self.prog}: {told.fact}{f' ({where})' if where else ''}. {told.remedy}")
        sys.exit(2)

    def _where(self, key: str | None) -> str | None:
        """File and line of a setting that a file gave."""
        if key is None or any(f"{key}.".startswith(f"{given}.") for given in self.given - {"config"}):
            return None
        found = [(path, line_of(path, key)) for path in reversed(self.config_files)]
        return next((f"{path}:{line}" for path, line in found if line), None)

    def _entitle(self, group: str, title: str) -> None:
        if self.groups and group in self.groups:
            self.groups[group].title = title

    def _action(self, key: str) -> argparse.Action | None:
        return next((a for a in self._actions if a.dest == key), None)

    def _check_class_name(self, option: str, name: str) -> None:
        known = sorted(set(class_names(_types(self._option_string_actions.get(option)))))
        if name.isidentifier() and known and name not in known:
            raise UsageError(f"`{option.rstrip('+')}` knows no class `{name}`. {did_you_mean(name, known)}")

    def _known_option(self, option: str, value: str) -> str:
        name = option[2:].replace("-", "_")
        candidates = [f"--{name}", f"--{name.removeprefix('trainer.')}"]
        groups = {f"--{group}" for group in self.references}
        for candidate in candidates:
            parts = candidate.split(".")
            prefixes = {".".join(parts[: n + 1]) for n in range(len(parts))} - groups
            if candidate in self._option_string_actions or not prefixes.isdisjoint(self._option_string_actions):
                return candidate
        if instead := instead_of(name, value):
            raise UsageError(f"`{option}` is an old spelling. {instead}")
        known = {n[2:] for n in self._option_string_actions if n.startswith("--")} - {*self.references}
        match = nearest_key(name, known)
        remedy = f"Did you mean `--{match}`?" if match else f"`{self.prog} --help` lists all options."
        raise UsageError(f"There is no option `{option}`. {remedy}")

    def _keep_literal_types(self) -> None:
        # 1 is an int and 1.0 a float, whatever the order in the annotation: one batch, or all of them. Beside classes,
        # Any is for objects that a program passes; here it would take a misspelt argument of a class for a value.
        for action in self._actions:
            types = _types(action)
            classes = [t for t in types if inspect.isclass(t) and t not in PLAIN]
            if Any in types and classes:
                types = (*(t for t in types if t is not Any and t is not NoneType), NoneType)
            if len(types) > 1:
                order = sorted(types, key=lambda t: (float, str).index(t) + 1 if t in (float, str) else 0)
                action._typehint = Union[tuple(order)]  # type: ignore[attr-defined]  # noqa: UP007


class _Specified:
    """Turns the arguments of a known class into the pair of class and arguments that an argument of the model takes."""

    def __init__(self, cls: type) -> None:
        self.path = f"{cls.__module__}.{cls.__qualname__}"

    def __call__(self, arguments: Any) -> dict[str, Any]:
        return {"class_path": self.path, "init_args": arguments}


def _types(action: argparse.Action | None) -> tuple[Any, ...]:
    return members(getattr(action, "_typehint", getattr(action, "type", None)))
