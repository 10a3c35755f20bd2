"""Command line over any Trainer, module and data module."""

from lt_cli.argparse_arguments import (
    add_argparse_args,
    env_arguments,
    from_argparse_args,
    get_init_arguments_and_types,
    parse_argparser,
)
from lt_cli.console import main

__version__ = "0.1.0"

__all__ = [
    "add_argparse_args",
    "env_arguments",
    "from_argparse_args",
    "get_init_arguments_and_types",
    "main",
    "parse_argparser",
]
