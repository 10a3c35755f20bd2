"""`lt-cli tune`: what a registered tuner finds, as the options of a `fit` that uses it."""

from __future__ import annotations

import math
import shlex
from typing import Any, Literal

from lt_cli.class_reference import registered
from lt_cli.failures import UsageError
from lt_cli.parser import LightningArgumentParser
from lt_cli.program import Program

GIVEN = {"model", "train_dataloaders", "val_dataloaders", "dataloaders", "datamodule", "method", "update_attr"}
RATES = ("lr", "learning_rate")


class Tune(Program):
    """Runs the tuner in place of the trainer."""

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """The one command."""
        return {"tune": GIVEN}

    def _add_command(self, parser: LightningArgumentParser, subcommand: str) -> None:
        self.tuner_class = registered("tuner")
        if self.tuner_class is None:
            raise UsageError("No installed package tunes. Run `pip install lt`.")
        parser.add_argument(
            "--find",
            type=Literal["lr", "batch_size", "both"],
            default="lr",
            help="what to look for; with both, the batch size first",
        )
        for method in ("lr_find", "scale_batch_size"):
            parser.add_method_arguments(self.tuner_class, method, method, skip=GIVEN, fail_untyped=False)

    def _run_subcommand(self, subcommand: str) -> None:
        self.found: list[str] = []
        self._carried_out(lambda: self._find(self.settings))
        if self.found and getattr(self.trainer, "is_global_zero", True):
            print(shlex.join(self.found))

    def _find(self, settings: Any) -> None:
        tuner, known = self.tuner_class(self.trainer), self.parser.keys()
        if settings.find != "lr":
            size = tuner.scale_batch_size(self.model, datamodule=self.datamodule, **vars(settings.scale_batch_size))
            self._keep(size, [settings.scale_batch_size.batch_arg_name], ("data", "model"), known)
        if settings.find != "batch_size":
            curve = tuner.lr_find(self.model, datamodule=self.datamodule, **vars(settings.lr_find))
            rate = curve and curve.suggestion()
            if curve is not None and (rate is None or not math.isfinite(rate)):
                raise RuntimeError("No learning rate stands out. Try more steps with `--lr_find.num_training`.")
            self._keep(rate, [settings.lr_find.attr_name, *RATES], ("model",), known)

    def _keep(self, value: Any, names: list[str], groups: tuple[str, ...], known: set[str]) -> None:
        """Note the option that takes the value; the first name alone if it is no argument of the classes."""
        if value is not None:
            options = [key for group in groups for name in names if (key := f"{group}.{name}") in known]
            first = next(iter(options), next(name for name in names if name))
            self.found += [f"--{first}", f"{value:.6g}"]
