"""One command from arguments to exit status: choose classes, parse, build, run."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass

from jsonargparse import Namespace, set_parsing_settings
from lt_interfaces import is_overridden

from lt_cli.class_reference import load_class, registered_class
from lt_cli.commands import COMMANDS, DONE, FAILED, USAGE
from lt_cli.failures import UsageError, complain, is_deliberate, packages_of, packages_of_lt
from lt_cli.parser import ConfigFile, Parser, chosen_classes, paths_in

LOADERS = {"fit": "train_dataloader", "validate": "val_dataloader"}
SEED = "seed_everything"


@dataclass(kw_only=True, slots=True)
class Classes:
    """The classes of a command, how each is called, and which of them the command line chose."""

    trainer: type
    model: type
    data: type | None
    references: dict[str, str]

    def given(self) -> dict[str, type]:
        """The classes that are there, by group, in the order of `--help`."""
        found = {"trainer": self.trainer, "model": self.model, "data": self.data}
        return {group: cls for group, cls in found.items() if cls is not None}


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
        self.prog = f"{prog} {name}"
        self.defaults = {"trainer": trainer_class, "model": model_class, "data": data_class}

    def run(self, args: Sequence[str]) -> int:
        """Parse, build and run; 0 is done, 1 a failed run, 2 wrong usage, 130 an interrupt."""
        try:
            references, rest = chosen_classes(args, self.defaults)
            classes = self.choose(references)
            _trust(classes, args)
            parser = self.parser(classes)
            config = parser.settings(parser.normalize(rest))
        except UsageError as error:
            complain(f"{self.prog}: {error}")
            return USAGE
        except Exception:
            # Out of the module that a class was imported from.
            traceback.print_exc()
            return USAGE
        return self._build_and_run(parser, classes, config)

    def choose(self, references: dict[str, str]) -> Classes:
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
        return Classes(trainer=chosen["trainer"], model=chosen["model"], data=chosen.get("data"), references=references)

    def parser(self, classes: Classes) -> Parser:
        """The parser with the options of these classes."""
        parser = Parser(prog=self.prog, description=f"{COMMANDS[self.name].capitalize()}.")
        parser.add_argument("-c", "--config", action=ConfigFile, metavar="FILE", help="settings as YAML or JSON")
        parser.add_argument(
            f"--{SEED}", type=int | bool, default=True, help="seed of all generators; false: leave them alone"
        )
        parser.add_entry_point(classes.trainer, self.name)
        for group, cls in classes.given().items():
            name = classes.references.get(group)
            parser.add_class(cls, group, name or f"{cls.__module__}.{cls.__qualname__}", named=name is not None)
        parser.flatten("trainer")
        return parser

    def _build_and_run(self, parser: Parser, classes: Classes, config: Namespace) -> int:
        framework = packages_of(classes.trainer)
        try:
            self._seed(classes.trainer, config.get(SEED, True))
            built = parser.instantiate(config)
        except Exception as error:
            ours = framework | packages_of(classes.model, classes.data)
            self._tell(error, is_deliberate(error, ours, through_others=True))
            return USAGE
        options = {key: value for key, value in vars(built).items() if key in parser.entry_point_keys}
        if classes.data is not None:
            options["datamodule"] = built.data
        try:
            result = getattr(built.trainer, self.name)(built.model, **options)
        except Exception as error:
            self._tell(error, is_deliberate(error, framework))
            return FAILED
        if self.name == "predict" and getattr(built.trainer, "is_global_zero", True):
            for output in result or ():
                print(output)
        return DONE

    def _seed(self, trainer_class: type, seed: int | bool) -> None:
        seed_everything = getattr(trainer_class, SEED, None)
        if seed is False or (seed is True and seed_everything is None):
            return
        if seed_everything is None:
            raise UsageError(f"`{trainer_class.__name__}` has no `{SEED}`. Give `--{SEED} false`.")
        seed_everything(None if seed is True else seed, workers=True)

    def _tell(self, error: Exception, in_a_sentence: bool) -> None:
        if in_a_sentence:
            print(f"{self.prog}: {error}", file=sys.stderr)
        else:
            traceback.print_exception(error)


def _trust(classes: Classes, args: Sequence[str]) -> None:
    """Let config files name only what is in the packages of the classes, or on the command line.

    The setting is the process's own: later calls add to it.
    """
    packages = packages_of(*classes.given().values()) | {"torch.nn", "torch.optim"}
    packages |= packages_of_lt(name.partition(".")[0] for name in sys.modules)
    set_parsing_settings(
        import_path_denylist=["*"],
        import_path_allowlist=sorted(packages | paths_in(args)),
        instantiate_subclass_spec_in_any=False,
    )
