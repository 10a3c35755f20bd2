"""Command line over any Trainer, module and data module. Names resolve on first use: help needs none of them."""

from typing import TYPE_CHECKING

from lt_interfaces.lazy_names import lazy_names

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
else:
    __all__, __getattr__, __dir__ = lazy_names(
        __name__,
        {
            ".argparse_arguments": "add_argparse_args env_arguments from_argparse_args get_init_arguments_and_types "
            "parse_argparser",
            ".console": "main",
            ".lightning_cli": "ArgsType LightningCLI",
            ".optimizers": "LRSchedulerCallable OptimizerCallable ReduceLROnPlateau instantiate_class",
            ".parser": "LightningArgumentParser",
            ".save_config": "SaveConfigCallback",
        },
    )

__version__ = "0.1.0"
