"""Command line over any Trainer, module and data module. Names resolve on first use: help needs none of them."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lt_interfaces import did_you_mean

if TYPE_CHECKING:
    from lt_cli.argparse_arguments import add_argparse_args as add_argparse_args
    from lt_cli.argparse_arguments import env_arguments as env_arguments
    from lt_cli.argparse_arguments import from_argparse_args as from_argparse_args
    from lt_cli.argparse_arguments import get_init_arguments_and_types as get_init_arguments_and_types
    from lt_cli.argparse_arguments import parse_argparser as parse_argparser
    from lt_cli.console import main as main
    from lt_cli.lightning_cli import ArgsType as ArgsType
    from lt_cli.lightning_cli import LightningCLI as LightningCLI
    from lt_cli.optimizers import LRSchedulerCallable as LRSchedulerCallable
    from lt_cli.optimizers import OptimizerCallable as OptimizerCallable
    from lt_cli.optimizers import ReduceLROnPlateau as ReduceLROnPlateau
    from lt_cli.optimizers import instantiate_class as instantiate_class
    from lt_cli.parser import LightningArgumentParser as LightningArgumentParser
    from lt_cli.save_config import SaveConfigCallback as SaveConfigCallback

__version__ = "0.1.0"

_HOMES = {
    "ArgsType": "lightning_cli",
    "LRSchedulerCallable": "optimizers",
    "LightningArgumentParser": "parser",
    "LightningCLI": "lightning_cli",
    "OptimizerCallable": "optimizers",
    "ReduceLROnPlateau": "optimizers",
    "SaveConfigCallback": "save_config",
    "add_argparse_args": "argparse_arguments",
    "env_arguments": "argparse_arguments",
    "from_argparse_args": "argparse_arguments",
    "get_init_arguments_and_types": "argparse_arguments",
    "instantiate_class": "optimizers",
    "main": "console",
    "parse_argparser": "argparse_arguments",
}

__all__ = [
    "ArgsType",
    "LRSchedulerCallable",
    "LightningArgumentParser",
    "LightningCLI",
    "OptimizerCallable",
    "ReduceLROnPlateau",
    "SaveConfigCallback",
    "add_argparse_args",
    "env_arguments",
    "from_argparse_args",
    "get_init_arguments_and_types",
    "instantiate_class",
    "main",
    "parse_argparser",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'lt_cli' has no attribute {name!r}. {did_you_mean(name, __all__)}")
    value = globals()[name] = getattr(import_module(f"lt_cli.{_HOMES[name]}"), name)
    return value
