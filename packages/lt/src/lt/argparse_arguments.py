"""The argparse methods of former years, for the classes of the roof."""

from argparse import ArgumentParser, Namespace
from typing import Any, Self

import lt_cli


class ArgparseArguments:
    """Constructor arguments as options of a plain `argparse` parser, and back."""

    @classmethod
    def add_argparse_args(cls, parent_parser: ArgumentParser, use_argument_group: bool = True) -> ArgumentParser:
        """The parser with one option per constructor argument that text can give; the environment gives defaults."""
        parser = lt_cli.add_argparse_args(cls, parent_parser, use_argument_group)
        parser.set_defaults(**vars(cls.match_env_arguments()))
        return parser

    @classmethod
    def from_argparse_args(cls, args: Namespace | ArgumentParser, **kwargs: Any) -> Self:
        """An object from parsed arguments; names that the constructor lacks are left, `kwargs` win."""
        return lt_cli.from_argparse_args(cls, args, **kwargs)

    @classmethod
    def parse_argparser(cls, args: Namespace | ArgumentParser) -> Namespace:
        """Parsed arguments with bare flags made True."""
        return lt_cli.parse_argparser(cls, args)

    @classmethod
    def match_env_arguments(cls) -> Namespace:
        """The constructor arguments that environment variables give."""
        return Namespace(**lt_cli.env_arguments(cls))
