"""The command line of `lt-cli` as a `LightningCLI`: classes are named on it, failures told in a sentence."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from lt_cli.commands import FAILED, USAGE
from lt_cli.failures import UsageError, is_deliberate, packages_of
from lt_cli.lightning_cli import LightningCLI
from lt_cli.parser import LightningArgumentParser
from lt_cli.plugs import packages_offering
from lt_cli.trust import trust


class Ended(Exception):
    """The command is over; what there was to say has been said."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Program(LightningCLI):
    """The command line of `lt-cli`: classes named on it, failures told in a sentence where that is enough."""

    def __init__(
        self, line: list[str], classes: Mapping[str, type], references: Mapping[str, str], packages: set[str]
    ) -> None:
        self.references, self.packages = references, packages
        self.framework = packages_of(classes["trainer"])
        self.classes = classes
        super().__init__(
            classes["model"],
            classes.get("data"),
            trainer_class=classes["trainer"],
            parser_kwargs={"prog": line[0]},
            args=line[1:],
        )

    def trust(self, args: Any) -> None:
        """Config files may name what the command line or an installed package named."""
        trust(self.classes.values(), (), self.packages | packages_offering())

    def add_core_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Say that the command line names the classes, and may name modules."""
        super().add_core_arguments_to_parser(parser)
        for group in self.classes:
            parser.let_choose(group)
        parser.named |= {*self.references}
        parser.epilog = "`--import pkg.mod` or `--import file.py` lets config files and short names reach its classes."

    def instantiate_classes(self) -> None:
        """Build everything; what a class refuses is wrong usage."""
        try:
            super().instantiate_classes()
        except Exception as error:
            ours = self.framework | packages_of(*self.classes.values())
            self._tell(error, is_deliberate(error, ours, through_others=True))
            raise Ended(USAGE) from None

    def _refuse(self, error: UsageError) -> None:
        raise error

    def _set_seed(self) -> None:
        try:
            super()._set_seed()
        except UsageError:
            raise
        except Exception as error:
            self._tell(error, is_deliberate(error, self.framework))
            raise Ended(USAGE) from None

    def _run_subcommand(self, subcommand: str) -> None:
        result = self._carried_out(lambda: super(Program, self)._run_subcommand(subcommand))
        if subcommand == "predict" and getattr(self.trainer, "is_global_zero", True):
            for output in result or ():
                print(output)

    def _carried_out(self, work: Callable[[], Any]) -> Any:
        """What the work returns; if it fails, that is told and the command is over."""
        try:
            return work()
        except Exception as error:
            self._tell(error, is_deliberate(error, self.framework))
            raise Ended(FAILED) from None

    def _tell(self, error: Exception, in_a_sentence: bool) -> None:
        if in_a_sentence:
            print(f"{self.prog}: {error}", file=sys.stderr)
        else:
            traceback.print_exception(error)
