"""Finds the largest batch size that fits into memory, by trying."""

import gc
import traceback
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from lt_interfaces import Callback, MisconfigurationException, did_you_mean, rank_zero_info
from torch.utils._pytree import tree_leaves

from lt_callbacks.out_of_memory_observer import is_out_of_memory
from lt_callbacks.tuned_attribute import TunedAttribute

MODES = ("power", "binsearch")
SOURCES = {"fit": "fit_loop", "validate": "validate_loop", "test": "test_loop", "predict": "predict_loop"}


class BatchSizeFinder(Callback):
    """Sets `batch_size` of the module or data module at the start of a run to the largest that fits into memory.

    The tries leave no trace but the size: weights and random numbers are as they were. Call `scale_batch_size` from
    other hooks of a subclass to look again later. A fit that is resumed keeps the size that it had.

    Args:
        mode: "power" doubles the size until memory runs out; "binsearch" then halves the gap until it is closed.
        steps_per_trial: Steps to run at each size.
        init_val: The first size.
        max_trials: Sizes to try at most.
        batch_arg_name: Where the module, the data module or their `hparams` keep the size; dots go deeper.
        margin: The share to stay below what "binsearch" found.
        max_val: The largest size to try; that of the dataset is another limit.
    """

    priority: ClassVar[int] = -1

    def __init__(
        self,
        mode: str = "power",
        steps_per_trial: int = 3,
        init_val: int = 2,
        max_trials: int = 25,
        batch_arg_name: str = "batch_size",
        margin: float = 0.05,
        max_val: int = 8192,
    ) -> None:
        if mode.lower() not in MODES:
            raise ValueError(f"`mode` must be 'power' or 'binsearch', got {mode!r}. {did_you_mean(mode, MODES)}")
        if not 0 <= margin < 1:
            raise ValueError(f"`margin` is a share of the size, got {margin!r}. Give 0 or more, and less than 1.")
        for name, value in (("steps_per_trial", steps_per_trial), ("init_val", init_val), ("max_trials", max_trials)):
            if value < 1:
                raise ValueError(f"`{name}` must be at least 1, got {value!r}. Leave it out for the default.")
        self._mode, self._margin = mode.lower(), margin
        self._steps, self._trials = steps_per_trial, max_trials
        self._first, self._most = init_val, max_val
        self._name = batch_arg_name
        self.optimal_batch_size: int | None = init_val
        self._found = self._resumed = False

    def state_dict(self) -> dict[str, Any]:
        return {"optimal_batch_size": self.optimal_batch_size if self._found else None}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if state_dict["optimal_batch_size"] is not None:
            self.optimal_batch_size, self._found, self._resumed = state_dict["optimal_batch_size"], True, True

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        self.check_processes(trainer)
        if stage == "fit" or not _is_given(trainer, stage):
            self.check_loaders(trainer, stage)
            self.attribute(pl_module, trainer.datamodule)

    def check_processes(self, trainer: Any) -> None:
        """Refuse several."""
        if trainer.world_size > 1:
            raise MisconfigurationException(
                f"A batch size is looked for with {trainer.world_size} processes, of which one that runs out of memory "
                "would leave the others waiting. Look for it with `devices=1`: the size is that of each process."
            )

    def check_loaders(self, trainer: Any, stage: str) -> None:
        """Refuse those that were given."""
        if _is_given(trainer, stage):
            raise MisconfigurationException(
                f"A batch size is looked for, and `trainer.{stage}` was given loaders, whose size is fixed. "
                f"Make them of `self.{self._name}` in the module's or a data module's `..._dataloader` hook."
            )

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        if self._resumed:
            self.attribute(pl_module, trainer.datamodule).set(self.optimal_batch_size)
            _renew(trainer)
        else:
            self.scale_batch_size(trainer, pl_module)
        self._resumed = False
        if trainer.fit_loop.given is not None:  # `configure_optimizers` has counted the batches
            trainer.set_up_optimizers()

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        if trainer.fn == "validate":
            self._before_evaluation(trainer, pl_module)

    def on_test_start(self, trainer: Any, pl_module: Any) -> None:
        self._before_evaluation(trainer, pl_module)

    def on_predict_start(self, trainer: Any, pl_module: Any) -> None:
        self._before_evaluation(trainer, pl_module)

    def _before_evaluation(self, trainer: Any, module: Any) -> None:
        if not _is_given(trainer, trainer.fn):
            self.scale_batch_size(trainer, module)

    def scale_batch_size(self, trainer: Any, pl_module: Any) -> None:
        """Look for the size now; sets it, and `optimal_batch_size`."""
        if trainer.fast_dev_run:
            rank_zero_info("No batch size is looked for in a `fast_dev_run`.")
            return
        attribute = self.attribute(pl_module, trainer.datamodule)
        put_back = attribute.restorer()
        tries = _Tries(trainer, attribute, self._steps, self._most)
        try:
            size = largest(tries.fits, self._first, lambda: tries.most, self._trials, self._mode == "binsearch")
            if not size:
                raise RuntimeError(
                    f"Memory ran out at all batch sizes that were tried, {', '.join(map(str, tries.sizes))}. "
                    "Start with a smaller `init_val`, allow more `max_trials`, or make the model smaller."
                )
        except BaseException:
            put_back()
            raise
        if self._mode == "binsearch":
            size = max(1, int(size * (1 - self._margin)))
        attribute.set(size)
        self.optimal_batch_size, self._found = size, True
        _renew(trainer)
        rank_zero_info(f"`{attribute.name}` is {size} now, after trying {', '.join(map(str, tries.sizes))}.")

    def attribute(self, module: Any, datamodule: Any) -> TunedAttribute:
        """Where the size is kept; an error with the nearest names if nowhere."""
        attribute = TunedAttribute((self._name,), module, datamodule)
        if not attribute.exists:
            raise MisconfigurationException(attribute.missing("batch_arg_name"))
        return attribute


class _Tries:
    """Runs a few steps at a size, and says whether memory was enough."""

    def __init__(self, trainer: Any, attribute: TunedAttribute, steps: int, most: int) -> None:
        self.trainer, self.attribute = trainer, attribute
        self.batches = steps * (trainer.accumulate_grad_batches if trainer.fn == "fit" else 1)
        self.most = most
        self.sizes: list[int] = []
        self._seen: list[int] = []

    def fits(self, size: int) -> bool:
        self.attribute.set(size)
        self.sizes.append(size)
        try:
            self._look_at(self.trainer.trial(batches=self.batches))
            fits = True
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            _forget(error)
            fits = False
        on_gpu = self.trainer.engine.device.type == "cuda"
        if on_gpu or not fits:
            gc.collect()
        if on_gpu:
            torch.cuda.empty_cache()
        return fits

    def _look_at(self, tried: Any) -> None:
        """Learn the length of the data, and see that the loaders follow the attribute."""
        loaders = tree_leaves(_loaders(getattr(tried, SOURCES[tried.fn]).given))
        lengths = [length for x in loaders if (length := _length(getattr(x, "dataset", None)))]
        self.most = min([self.most, *lengths])
        seen = [x.batch_size for x in loaders if isinstance(getattr(x, "batch_size", None), int)]
        if seen and seen == self._seen and seen[0] > 1 and self.sizes[-1] != self.sizes[-2]:
            raise MisconfigurationException(
                f"`{self.attribute.name}` was set to {self.sizes[-2]} and {self.sizes[-1]}, and the loader makes "
                f"batches of {seen[0]} both times. Use `self.{self.attribute.name}` where the loader is made."
            )
        self._seen = seen


def _is_given(trainer: Any, stage: str) -> bool:
    given: bool = getattr(trainer, SOURCES[stage]).source.is_given
    return given


def _renew(trainer: Any) -> None:
    """Have loaders that exist already made of the new size."""
    if trainer.fn != "fit" or trainer.fit_loop.given is not None:
        trainer.request_anew()


def largest(fits: Callable[[int], bool], first: int, most: Callable[[], int], trials: int, bisects: bool) -> int:
    """The largest size found that fits, 0 if none; doubling from the first, and bisecting after that if asked to."""
    good, bad, size = 0, None, min(first, most())
    for _ in range(trials):
        if fits(size):
            good = size
        else:
            bad = size
        if bad is None:
            size = min(2 * good, most())
        elif bisects:
            size = (good + bad) // 2
        elif good:
            break
        else:
            size = bad // 2
        if size <= good:
            break
    return min(good, most())


def _forget(error: BaseException | None) -> None:
    """Let go of what the frames of an error hold: the tensors that were too much."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error.__traceback__ = None
        error = error.__context__


def _loaders(given: Any) -> Any:
    return getattr(given, "iterables", given)


def _length(dataset: Any) -> int:
    """Samples of a dataset, 0 if it does not say."""
    try:
        return len(dataset)
    except (TypeError, NotImplementedError):
        return 0
