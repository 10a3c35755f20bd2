"""The parser of one command, its options read from the signatures and docstrings of the classes.

It knows no trainer: names, types, defaults and help come from the classes it is given.
"""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Callable, Iterable
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
from lt_interfaces import Callback
from lt_interfaces.masking import masked, masks_in
from yaml import YAMLError  # type: ignore[import-untyped]

from lt_cli.config_file import line_of, read_config
from lt_cli.failures import UsageError, complain
from lt_cli.lazy_classes import import_named_in
from lt_cli.links import circle, refusal
from lt_cli.plain_yaml import dump, load
from lt_cli.plugs import with_import_paths
from lt_cli.rewording import reworded
from lt_cli.spelling import Spelling, option_types

PLAIN = (bool, int, float, str, bytes, complex, NoneType)
MODE = "lt_yaml"


def load_value(text: str) -> Any:
    """The value of a text; `{epoch}` is text too, the template of a name, and no table without values."""
    value = load(text)
    return text if isinstance(value, dict) and value and ":" not in text else value


set_loader(MODE, load_value, (YAMLError,))
set_dumper(MODE, dump)


class ConfigFile(ActionConfigFile):
    """`--config`, and a file for one group: it is checked before any of it reaches the parser."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        """Merge the file's values; options after it win."""
        keys, version = parser.keys(), parser.version
        if values in parser.group_files:
            group, path = parser.group_files[values]
            prefix = f"{group}."
            own = {key.removeprefix(prefix) for key in keys if key.startswith(prefix)}
            config = {group: read_config(path, own, {}, None, version)}
            parser.config_files.append((path, prefix))
        else:
            config = read_config(values, keys, parser.references, parser.command, version)
            parser.config_files.append((values, ""))
        text = dump(with_import_paths(config))
        import_named_in(text)
        self.apply_config(parser, namespace, self.dest, text)


class LightningArgumentParser(ArgumentParser):
    """Options of `trainer`, `model` and `data` classes, the trainer's without a prefix as well."""

    def __init__(self, *args: Any, command: str | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, "parser_mode": MODE, **kwargs})
        self.command = command
        self.version: str | None = None
        self.references: dict[str, str] = {}
        self.named: set[str] = set()
        self.untyped_required: set[str] = set()
        self.entry_point_keys: list[str] = []
        self.callback_keys: list[str] = []
        self.optimizers: dict[str, tuple[Any, str]] = {}
        self.lr_schedulers: dict[str, tuple[Any, str]] = {}
        self.group_files: dict[str, tuple[str, str]] = {}
        self.links: dict[str, tuple[str, ...]] = {}
        self.config_files: list[tuple[str, str]] = []
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
        self._keep_literaloption_types()
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

    def link_arguments(
        self, source: Any, target: str, compute_fn: Callable[..., Any] | None = None, apply_on: str = "parse"
    ) -> None:
        """Set one setting from others, or with `apply_on="instantiate"` from attributes of what was built."""
        sources = (source,) if isinstance(source, str) else tuple(source)
        if wrong := circle(sources, target, self.links):
            raise UsageError(wrong)
        known = self.keys()
        try:
            super().link_arguments(source, target, compute_fn, apply_on)
        except ValueError as error:
            raise UsageError(refusal(str(error), sources, target, self.links, known)) from None
        self.links[target] = sources

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
        self._keep_literaloption_types()

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

    def types_of(self, key: str) -> tuple[Any, ...]:
        """The types that a setting takes."""
        return option_types(self._action(key))

    def normalize(self, args: Iterable[Any]) -> list[str]:
        """The arguments as this parser spells them."""
        return Spelling(self).normalized([str(argument) for argument in args])

    def settings(self, args: list[str]) -> Namespace:
        """All settings: defaults, config files, environment and arguments, the later over the earlier."""
        try:
            config = self.parse_args(args)
        except Exception as error:
            if type(error).__module__ != "omegaconf.errors":
                raise
            self.error(str(error))
        self.check_required(config)
        return config

    def check_required(self, config: Namespace) -> None:
        """Exit if an argument was not given that has neither default nor type, or that a saved file masks."""
        known = self.keys()
        for key in masks_in(config.as_dict(), ""):
            option = key.replace("init_args.", "").removeprefix("trainer.")
            raise UsageError(f"`{key}` is masked, as secrets are in saved settings. Give it anew with `--{option}`.")
        if missing := sorted(k for k in self.untyped_required & known if config.get(k) is None):
            self.error(f"arguments are required: {', '.join(missing)}")

    def dump(self, *args: Any, **kwargs: Any) -> str:
        """The settings as YAML, secrets masked; a class chosen on the command line is there with its arguments."""
        if "skip_none" in kwargs:  # its name in the library until 4.50, and in scripts
            kwargs["skip_unset"] = kwargs.pop("skip_none")
        values = load(super().dump(*args, **kwargs)) or {}
        for group in self.named:
            values[group] = {"class_path": self.references[group], "init_args": values.get(group) or {}}
        return (f"# {self.version}\n" if self.version else "") + dump(masked(values))

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
        found = [(path, line_of(path, key.removeprefix(prefix))) for path, prefix in reversed(self.config_files)]
        return next((f"{path}:{line}" for path, line in found if line), None)

    def _entitle(self, group: str, title: str) -> None:
        if self.groups and group in self.groups:
            self.groups[group].title = title

    def _action(self, key: str) -> argparse.Action | None:
        return next((a for a in self._actions if a.dest == key), None)

    def _keep_literaloption_types(self) -> None:
        # 1 is an int and 1.0 a float, whatever the order in the annotation: one batch, or all of them. Beside classes,
        # Any is for objects that a program passes; here it would take a misspelt argument of a class for a value.
        for action in self._actions:
            types = option_types(action)
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
