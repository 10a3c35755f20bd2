"""The settings of a run, written where the run writes, so that it can be started again from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lt_interfaces import Callback
from lt_interfaces.whole_file import write_text

from lt_cli.plain_yaml import load


class SaveConfigCallback(Callback):
    """Writes `config.yaml` into the run's directory as training begins, and the same settings into its checkpoints.

    Files of earlier runs stay: if there is another config, this one becomes `config_1.yaml`, unless `overwrite`.
    Nothing is written in a dry run or without a logger. Override `save_config` to do more, on rank zero; with
    `save_to_log_dir=False` that is all that is done.
    """

    def __init__(
        self,
        parser: Any,
        config: Any,
        config_filename: str = "config.yaml",
        overwrite: bool = False,
        save_to_log_dir: bool = True,
    ) -> None:
        self.parser, self.config = parser, config
        self.config_filename, self.overwrite, self.save_to_log_dir = config_filename, overwrite, save_to_log_dir
        self.text: str = parser.dump(config, skip_unset=False)

    def __getstate__(self) -> dict[str, Any]:
        # A parser cannot travel to another process; the text says the same.
        return {**self.__dict__, "parser": None}

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Write the file."""
        if stage != "fit" or trainer.fast_dev_run or not trainer.loggers:
            return
        folder = trainer.log_dir
        if not trainer.is_global_zero:
            return
        if self.save_to_log_dir and folder is not None:
            write_text(self._place(Path(folder)), self.text)
        self.save_config(trainer, pl_module, stage)

    def save_config(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Called on rank zero as training begins; does nothing."""

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Add the settings to what lt keeps in a checkpoint."""
        checkpoint.setdefault("lt", {})["config"] = load(self.text)

    def _place(self, folder: Path) -> Path:
        path, number = folder / self.config_filename, 0
        while not self.overwrite and path.exists() and path.read_text(errors="replace") != self.text:
            number += 1
            path = (folder / self.config_filename).with_stem(f"{Path(self.config_filename).stem}_{number}")
        return path
