"""What marks a callback that saves checkpoints, and the simplest one: a last word before an exception ends the run."""

import contextlib
import os
from typing import Any, ClassVar

from lt_interfaces import Callback, Trainer, rank_zero_warn


class Checkpoint(Callback):
    """A callback that saves: it acts after all others, and on epochs after the module has logged."""

    priority: ClassVar[int] = 1
    decides_on_epoch: ClassVar[bool] = True


def may_save_after(trainer: Trainer, exception: BaseException) -> bool:
    """True if all ranks are known to arrive here: an error may have struck one alone, and the others would wait."""
    return trainer.world_size == 1 or not isinstance(exception, Exception)


class OnExceptionCheckpoint(Checkpoint):
    """Saves `<dirpath>/<filename>.ckpt` when an exception or a signal ends the run.

    A run that succeeds deletes the file again, if it wrote it or was resumed from it.
    """

    FILE_EXTENSION = ".ckpt"

    def __init__(self, dirpath: str | os.PathLike[str], filename: str = "on_exception") -> None:
        if not filename:
            raise ValueError("`filename` is empty. Give the file a name, for instance 'on_exception'.")
        self.dirpath = os.path.realpath(os.path.expanduser(dirpath))
        self.filename = filename
        self._wrote = False
        self._failed = False

    @property
    def ckpt_path(self) -> str:
        """Where the file is, once an exception has occurred."""
        return os.path.join(self.dirpath, self.filename + self.FILE_EXTENSION)

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        self._failed = False

    def on_exception(self, trainer: Trainer, pl_module: Any, exception: BaseException) -> None:
        self._failed = True
        if trainer.sanity_checking or trainer.global_step == 0 or not may_save_after(trainer, exception):
            return
        try:
            trainer.save_checkpoint(self.ckpt_path)
        except Exception as error:
            rank_zero_warn(f"The checkpoint on exception {self.ckpt_path} could not be written: {error}")
        else:
            self._wrote = True

    def teardown(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        resumed = trainer.ckpt_path is not None and os.path.realpath(trainer.ckpt_path) == self.ckpt_path
        if stage == "fit" and not self._failed and (self._wrote or resumed):
            with contextlib.suppress(FileNotFoundError):
                trainer.remove_checkpoint(self.ckpt_path)
            self._wrote = False
