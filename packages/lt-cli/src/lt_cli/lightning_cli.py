"""`LightningCLI`: a command line for a script of one's own, each of its steps open to a subclass."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from lt_interfaces import did_you_mean

from lt_cli.checkpoint_defaults import is_plain, known_settings, stored_arguments
from lt_cli.class_reference import registered_class
from lt_cli.commands import COMMANDS, DONE, USAGE
from lt_cli.failures import UsageError, complain
from lt_cli.lazy_classes import import_named_in
from lt_cli.overview import without_command
from lt_cli.parser import ConfigFile, LightningArgumentParser
from lt_cli.plugs import packages_offering
from lt_cli.save_config import SaveConfigCallback
from lt_cli.trust import packages_of_the_script, trust
from lt_cli.version import version_of

SEED = "seed_everything"
KINDS = ("optimizers", "lr_schedulers")
ArgsType = list[str] | Mapping[str, Any] | Namespace | None


class LightningCLI:
    """Reads settings for a trainer, a model and data, builds them, and runs the command: the whole of a script.

    Without a model class the command line names one, `--model Net`. With `run=False` there is no command: `trainer`,
    `model`, `datamodule` and `config` are there to use. Subclasses add options in `add_arguments_to_parser`, act in
    `before_instantiate_classes`, `after_instantiate_classes` and `before_fit`, `after_fit` (and so on for each
    command), or replace a step.
    """

    references: Mapping[str, str] = {}
    """How the command line named the class of a group."""

    def __init__(
        self,
        model_class: Callable[..., Any] | None = None,
        datamodule_class: Callable[..., Any] | None = None,
        save_config_callback: Callable[..., SaveConfigCallback] | None = SaveConfigCallback,
        save_config_kwargs: Mapping[str, Any] | None = None,
        trainer_class: type | None = None,
        trainer_defaults: Mapping[str, Any] | None = None,
        seed_everything_default: bool | int = True,
        parser_kwargs: Mapping[str, Any] | None = None,
        parser_class: type[LightningArgumentParser] = LightningArgumentParser,
        subclass_mode_model: bool = False,
        subclass_mode_data: bool = False,
        args: ArgsType = None,
        run: bool = True,
        auto_configure_optimizers: bool = True,
        load_from_checkpoint_support: bool = True,
    ) -> None:
        self.model_class, self.datamodule_class = model_class, datamodule_class
        self.save_config_callback, self.save_config_kwargs = save_config_callback, dict(save_config_kwargs or {})
        self.trainer_defaults = dict(trainer_defaults or {})
        self.seed_everything_default = seed_everything_default
        self.parser_kwargs, self.parser_class = dict(parser_kwargs or {}), parser_class
        self.subclass_mode_model, self.subclass_mode_data = subclass_mode_model, subclass_mode_data
        self.auto_configure_optimizers = auto_configure_optimizers
        self.load_from_checkpoint_support = load_from_checkpoint_support
        self.subcommand: str | None = None
        self.trainer: Any = None
        self.model: Any = None
        self.datamodule: Any = None
        self.config = self.config_init = Namespace()  # type: ignore[no-untyped-call]
        try:
            given = self._take_command(sys.argv[1:] if args is None else args, run)
            self._choose_classes(trainer_class)
            self.trust(given)
            self.setup_parser()
            self._take_hparams(given)
            self.parse_arguments(self.parser, given)
            self._check_optimizers()
            self._set_seed()
        except UsageError as error:
            self._refuse(error)
        self.before_instantiate_classes()
        self.instantiate_classes()
        self.after_instantiate_classes()
        if self.subcommand is not None:
            self._run_subcommand(self.subcommand)

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """The commands: methods of the trainer, each with those of its arguments that are no options."""
        validated = {"model", "dataloaders", "datamodule"}
        return {
            "fit": {"model", "train_dataloaders", "val_dataloaders", "datamodule"},
            **dict.fromkeys(("validate", "test", "predict"), validated),
        }

    @property
    def prog(self) -> str:
        """How the program is called, with its command."""
        name = self.parser_kwargs.get("prog") or Path(sys.argv[0]).name
        return f"{name} {self.subcommand}" if self.subcommand else str(name)

    def trust(self, args: Any) -> None:
        """Say what config files may name: what the script imports, and what is on the command line."""
        texts = args if isinstance(args, list) else [str(args)]
        allowed = packages_of_the_script() | packages_offering()
        classes = (self.model_class, self.datamodule_class, self.trainer_class, type(self))
        trust([c for c in classes if isinstance(c, type)], texts, allowed)

    def setup_parser(self) -> None:
        """Make the parser: default, core, own options, in this order."""
        kwargs = {k: v for k, v in self.parser_kwargs.items() if k not in self.subcommands()}
        kwargs |= self.parser_kwargs.get(self.subcommand, {}) if self.subcommand else {}
        self.parser = self.init_parser(**{**kwargs, "prog": self.prog})
        self.parser.version = version_of(self.trainer_class)
        self.add_default_arguments_to_parser(self.parser)
        self.add_core_arguments_to_parser(self.parser)
        self.add_arguments_to_parser(self.parser)
        if self.auto_configure_optimizers and not self.parser.optimizers and "torch.optim" in sys.modules:
            self.parser.add_optimizer_args()
            if not self.parser.lr_schedulers:
                self.parser.add_lr_scheduler_args()
        self.parser.link_chosen()
        self.parser.flatten("trainer")

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        """The parser without options."""
        if str(kwargs.get("parser_mode")).startswith("omegaconf") and find_spec("omegaconf") is None:
            raise UsageError('Interpolation needs omegaconf, which is missing. Run `pip install "lt-cli[omegaconf]"`.')
        if kwargs.get("default_env"):
            kwargs.setdefault("env_prefix", f"PL_{self.subcommand.upper()}_" if self.subcommand else "PL")
        description = COMMANDS.get(self.subcommand or "", "settings of trainer, model and data").capitalize()
        return self.parser_class(command=self.subcommand, **{"description": f"{description}.", **kwargs})

    def add_default_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add `--config` and `--seed_everything`."""
        parser.add_argument("-c", "--config", action=ConfigFile, metavar="FILE", help="settings: YAML, JSON or TOML")
        parser.add_argument(
            f"--{SEED}",
            type=int | bool,
            default=self.seed_everything_default,
            help="seed of all generators; false: leave them alone",
        )

    def add_core_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the options of the command, the trainer, the model and the data."""
        if self.subcommand is not None:
            self._add_command(parser, self.subcommand)
        self._add_group(parser, self.trainer_class, "trainer", False)
        self._add_group(parser, self.model_class, "model", self.subclass_mode_model)
        if self.datamodule_class is not None:
            self._add_group(parser, self.datamodule_class, "data", self.subclass_mode_data)
        environment = getattr(self.trainer_class, "match_env_arguments", Namespace)()
        defaults = {**self.trainer_defaults, **vars(environment)}
        plain = {f"trainer.{k}": v for k, v in defaults.items() if k != "callbacks" and is_plain(v)}
        known = parser.keys()
        if unknown := [key for key in plain if key not in known]:
            raise UsageError(f"`trainer_defaults` has `{unknown[0][8:]}`. {did_you_mean(unknown[0], known)}")
        parser.set_defaults(plain)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add options, links between them and defaults; does nothing."""

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Fill `config`."""
        if isinstance(args, list):
            settings = parser.settings(parser.normalize(args))
        else:
            import_named_in(str(args))
            settings = parser.parse_object(args if isinstance(args, Namespace) else dict(args))
            parser.check_required(settings)
        self.config = self._under_command(settings)

    def before_instantiate_classes(self) -> None:
        """Settings are read, nothing is built."""

    def instantiate_classes(self) -> None:
        """Build data, model and trainer."""
        built = self.parser.instantiate(self.settings)
        self.config_init = self._under_command(built)
        self.datamodule, self.model = built.get("data"), built.get("model")
        self._override_optimizers(built)
        self.trainer = self.instantiate_trainer()

    def after_instantiate_classes(self) -> None:
        """Everything is built, nothing runs."""

    def instantiate_trainer(self, **kwargs: Any) -> Any:
        """The trainer of the settings, `kwargs` over them."""
        built = self._of_command(self.config_init)
        arguments = {**vars(built.trainer), **kwargs}
        for name, value in self.trainer_defaults.items():
            if name != "callbacks" and not is_plain(value) and arguments.get(name) is None:
                arguments[name] = value
        if "callbacks" in arguments:
            callbacks = _as_list(arguments["callbacks"]) + _as_list(self.trainer_defaults.get("callbacks"))
            callbacks += [built[key] for key in self.parser.callback_keys]
            if self.save_config_callback is not None and not arguments.get("fast_dev_run"):
                callbacks.append(self.save_config_callback(self.parser, self.settings, **self.save_config_kwargs))
            arguments["callbacks"] = callbacks or None
        return self.trainer_class(**arguments)

    @staticmethod
    def configure_optimizers(lightning_module: Any, optimizer: Any, lr_scheduler: Any = None) -> Any:
        """What the module's `configure_optimizers` returns where the command line chose the optimizer."""
        from lt_cli.optimizers import configured

        return configured(lightning_module, optimizer, lr_scheduler)

    @property
    def settings(self) -> Any:
        """The settings of the command that runs."""
        return self._of_command(self.config)

    def _of_command(self, config: Namespace) -> Any:
        return config[self.subcommand] if self.subcommand else config

    def _under_command(self, settings: Namespace) -> Namespace:
        if self.subcommand is None:
            return settings
        return Namespace({"subcommand": self.subcommand, self.subcommand: settings})  # type: ignore[no-untyped-call]

    def _take_command(self, args: Any, run: bool) -> Any:
        """The arguments without the command; options before it are taken as well."""
        if not run:
            return args
        known = self.subcommands()
        if isinstance(args, list | tuple):
            given = [str(argument) for argument in args]
            at = next((n for n, argument in enumerate(given) if argument in known), None)
            if at is None:
                without_command(self.prog, given, {name: COMMANDS.get(name, "") for name in known})
                sys.exit(DONE)
            self.subcommand = given[at]
            return given[:at] + given[at + 1 :]
        self.subcommand = args.get("subcommand")
        if self.subcommand not in known:
            raise UsageError(
                f"`args` has `subcommand` {self.subcommand!r}. {did_you_mean(str(self.subcommand), known)}"
            )
        return args.get(self.subcommand) or {}

    def _choose_classes(self, trainer_class: type | None) -> None:
        """Put what is registered in the place of classes that were not given."""
        trainer = trainer_class or registered_class("trainer")
        if trainer is None:
            raise UsageError("There is no trainer class. Pass `trainer_class=`, or `pip install lt`.")
        self.trainer_class: type = trainer
        if self.model_class is None:
            self.model_class, self.subclass_mode_model = registered_class("module"), True
        if self.model_class is None:
            raise UsageError("There is no model class. Pass `model_class=`.")
        base = None if self.datamodule_class else registered_class("datamodule")
        if base is not None and base.__subclasses__():
            self.datamodule_class, self.subclass_mode_data = base, True
            self._needs_data = False

    _needs_data = True

    def _refuse(self, error: UsageError) -> None:
        complain(f"{self.prog}: {error}")
        sys.exit(USAGE)

    def _add_command(self, parser: LightningArgumentParser, subcommand: str) -> None:
        parser.add_entry_point(self.trainer_class, subcommand, self.subcommands()[subcommand])

    def _add_group(self, parser: LightningArgumentParser, cls: Any, group: str, subclass_mode: bool) -> None:
        parser.add_lightning_class_args(
            cls,
            group,
            subclass_mode=subclass_mode,
            required=group != "data" or self._needs_data,
            instantiate=group != "trainer",
            reference=self.references.get(group),
        )

    def _take_hparams(self, args: Any) -> None:
        """Let the hyperparameters in a checkpoint be the model's defaults; whatever is said explicitly wins."""
        if self.load_from_checkpoint_support:
            known = dict(known_settings(self.parser, "model", stored_arguments(args)))
            self.parser.set_defaults(known)
            self.parser.untyped_required -= known.keys()

    def _set_seed(self) -> None:
        seed, settings = self.settings.get(SEED, True), self.settings
        seed_everything = getattr(self.trainer_class, SEED, None)
        if seed is False or (seed is True and seed_everything is None):
            return
        if seed_everything is None:
            raise UsageError(f"`{self.trainer_class.__name__}` has no `{SEED}`. Give `--{SEED} false`.")
        chosen = seed_everything(None if seed is True else seed, workers=True)
        settings[SEED] = seed if chosen is None else chosen

    def _check_optimizers(self) -> None:
        optimizer, scheduler = (self.parser.replacing(kind, self.settings) for kind in KINDS)
        if scheduler and not optimizer:
            raise UsageError("`--lr_scheduler` has no optimizer to schedule. Give `--optimizer` too.")

    def _override_optimizers(self, built: Namespace) -> None:
        optimizer, scheduler = (self.parser.replacing(kind, built) for kind in KINDS)
        if optimizer:
            from lt_cli.optimizers import ChosenOptimizers

            chosen = ChosenOptimizers(self.model, self.configure_optimizers, optimizer, scheduler)
            self.model.configure_optimizers = chosen

    def _run_subcommand(self, subcommand: str) -> Any:
        built = self._of_command(self.config_init)
        options = {key: built[key] for key in self.parser.entry_point_keys if key in built}
        if self.datamodule is not None:
            options["datamodule"] = self.datamodule
        if before := getattr(self, f"before_{subcommand}", None):
            before()
        result = getattr(self.trainer, subcommand)(self.model, **options)
        if after := getattr(self, f"after_{subcommand}", None):
            after()
        return result


def _as_list(given: Any) -> list[Any]:
    return list(given) if isinstance(given, list | tuple) else [] if given is None else [given]
