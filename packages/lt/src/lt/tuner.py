"""Finds a learning rate or a batch size before training, and leaves nothing else behind."""

from functools import partial
from typing import Any

from lt_callbacks import BatchSizeFinder, LearningRateCurve, LearningRateFinder
from lt_interfaces import MisconfigurationException, did_you_mean, rank_zero_info

METHODS = ("fit", "validate", "test", "predict")

__all__ = ["Tuner"]


class Tuner:
    """Tries settings with a trainer's engine and limits; a fit afterwards is, bit for bit, one without it.

    Nothing is logged or written, and no callback of the trainer's takes part. `LearningRateFinder` and
    `BatchSizeFinder` do the same at the start of every run.
    """

    def __init__(self, trainer: Any) -> None:
        if not hasattr(trainer, "rehearse"):
            raise TypeError(f"`Tuner` got a `{type(trainer).__name__}`. Pass a `Trainer`.")
        self._trainer = trainer

    def lr_find(
        self,
        model: Any,
        train_dataloaders: Any = None,
        val_dataloaders: Any = None,
        dataloaders: Any = None,
        datamodule: Any = None,
        method: str = "fit",
        min_lr: float = 1e-8,
        max_lr: float = 1,
        num_training: int = 100,
        mode: str = "exponential",
        early_stop_threshold: float | None = 4.0,
        update_attr: bool = True,
        attr_name: str = "",
    ) -> LearningRateCurve | None:
        """The loss over the learning rate; sets `lr` or `learning_rate` of the model to what it suggests.

        None in a `fast_dev_run`. See `LearningRateFinder` for the arguments.
        """
        if method != "fit":
            raise MisconfigurationException(
                f"`lr_find` got `method={method!r}`. A rate can be looked for in 'fit' only."
            )
        self._check(LearningRateFinder, method, train_dataloaders, val_dataloaders, dataloaders)
        finder = LearningRateFinder(
            min_lr, max_lr, num_training, mode, early_stop_threshold, update_attr=False, attr_name=attr_name
        )
        attribute = finder.attribute(model) if update_attr else None
        if self._is_skipped():
            return None
        curve: LearningRateCurve = self._trainer.rehearse(
            "fit", partial(_rate, finder), model, train_dataloaders, val_dataloaders, datamodule=datamodule
        )
        if attribute is not None and (rate := curve.suggestion()) is not None:
            attribute.set(rate)
            rank_zero_info(f"`{attribute.name}` is {rate:.3g} now, after {len(curve.results['lr'])} steps of trying.")
        return curve

    def scale_batch_size(
        self,
        model: Any,
        train_dataloaders: Any = None,
        val_dataloaders: Any = None,
        dataloaders: Any = None,
        datamodule: Any = None,
        method: str = "fit",
        mode: str = "power",
        steps_per_trial: int = 3,
        init_val: int = 2,
        max_trials: int = 25,
        batch_arg_name: str = "batch_size",
        margin: float = 0.05,
        max_val: int = 8192,
    ) -> int | None:
        """The largest batch size that fits into memory; sets it on the model or the data module.

        None in a `fast_dev_run`. See `BatchSizeFinder` for the arguments.
        """
        self._check(BatchSizeFinder, method, train_dataloaders, val_dataloaders, dataloaders)
        finder = BatchSizeFinder(mode, steps_per_trial, init_val, max_trials, batch_arg_name, margin, max_val)
        finder.check_processes(self._trainer)
        owner = next((given for given in (datamodule, train_dataloaders, dataloaders) if given is not None), None)
        attribute = finder.attribute(model, owner)
        if self._is_skipped():
            return None
        size: int = self._trainer.rehearse(
            method, partial(_size, finder, method), model, train_dataloaders, val_dataloaders, dataloaders, datamodule
        )
        attribute.set(size)
        return size

    def _is_skipped(self) -> bool:
        if self._trainer.fast_dev_run:
            rank_zero_info("Nothing is tuned in a `fast_dev_run`.")
        return bool(self._trainer.fast_dev_run)

    def _check(self, finder: type, method: str, train: Any, validation: Any, other: Any) -> None:
        if method not in METHODS:
            raise ValueError(f"There is no method {method!r} to tune. {did_you_mean(method, METHODS)}")
        wrong = ["dataloaders"] if method == "fit" and other is not None else []
        if method != "fit":
            given = {"train_dataloaders": train, "val_dataloaders": validation}
            wrong = [name for name, loaders in given.items() if loaders is not None]
        if wrong:
            right = "`train_dataloaders` and `val_dataloaders`" if method == "fit" else "`dataloaders`"
            raise MisconfigurationException(f"Tuning of `{method}` got `{wrong[0]}`. Pass {right}, or a data module.")
        if any(isinstance(callback, finder) for callback in self._trainer.callbacks):
            raise ValueError(
                f"The trainer has a `{finder.__name__}`, which looks at the start of each run anyway. "
                "Take it out of `callbacks`, or leave the `Tuner` out."
            )


def _rate(finder: LearningRateFinder, trainer: Any, module: Any) -> LearningRateCurve | None:
    finder.lr_find(trainer, module)
    return finder.optimal_lr


def _size(finder: BatchSizeFinder, method: str, trainer: Any, module: Any) -> int | None:
    finder.check_loaders(trainer, method)
    finder.scale_batch_size(trainer, module)
    return finder.optimal_batch_size
