"""Averages the weights of the last epochs, trained with a learning rate that keeps them moving."""

import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from lt_interfaces import Callback, MisconfigurationException, Trainer
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from lt_callbacks.averaged_weights import Average, AveragedWeights, epoch_is_whole, restore_live


class StochasticWeightAveraging(Callback):
    """From epoch `swa_epoch_start` (from 1; a float is a share of all) on, averages the weights after each epoch.

    The learning rate then goes to `swa_lrs` within `annealing_epochs`, and the run's scheduler rests. The module ends
    training with the average; statistics of batch normalization are computed for it in one pass over the training data,
    without gradients. Checkpoints within a run hold the weights in training. One optimizer, at most one scheduler.
    """

    def __init__(
        self,
        swa_lrs: float | Sequence[float],
        swa_epoch_start: int | float = 0.8,
        annealing_epochs: int = 10,
        annealing_strategy: str = "cos",
        avg_fn: Average | None = None,
        device: torch.device | str | None = "cpu",
    ) -> None:
        lrs = [swa_lrs] if isinstance(swa_lrs, (int, float)) else list(swa_lrs)
        if not lrs or not all(isinstance(lr, (int, float)) and lr > 0 for lr in lrs):
            raise MisconfigurationException(
                f"`swa_lrs` got {swa_lrs!r}. Give a positive number, or one for each group."
            )
        is_share = isinstance(swa_epoch_start, float)
        if not (0 <= swa_epoch_start <= 1 if is_share else swa_epoch_start >= 1):
            raise MisconfigurationException(
                f"`swa_epoch_start` got {swa_epoch_start!r}. Give an epoch from 1, or a share of them from 0.0 to 1.0."
            )
        if annealing_strategy not in ("cos", "linear") or annealing_epochs < 0:
            raise MisconfigurationException(
                f"`annealing_strategy={annealing_strategy!r}` and `annealing_epochs={annealing_epochs}` cannot be "
                "followed. Use 'cos' or 'linear', and 0 epochs or more."
            )
        self._lrs, self._epoch_start = lrs, swa_epoch_start
        self._annealing_epochs, self._cosine = annealing_epochs, annealing_strategy == "cos"
        self._average = AveragedWeights(device, use_buffers=False, avg_fn=avg_fn)
        self._start = sys.maxsize
        self._latest_update_epoch = -1
        self._initial_lrs: list[float] = []

    @property
    def swa_start(self) -> int:
        """The first epoch, from 0, that is trained with the annealed rate and averaged."""
        return self._start

    def state_dict(self) -> dict[str, Any]:
        return {
            "n_averaged": self._average.n_averaged,
            "latest_update_epoch": self._latest_update_epoch,
            "scheduler_state": {"initial_lrs": self._initial_lrs},
            "average_model_state": dict(self._average.tensors),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._latest_update_epoch = state_dict["latest_update_epoch"]
        self._initial_lrs = list((state_dict["scheduler_state"] or {}).get("initial_lrs", ()))
        self._average.load(state_dict["average_model_state"] or {}, int(state_dict["n_averaged"]))

    def on_save_checkpoint(self, trainer: Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """After training the module holds the average, and a longer run needs the weights that it stands for."""
        if self._average.live:
            checkpoint["current_model_state"] = self._average.live_state(pl_module, checkpoint["state_dict"])

    def on_load_checkpoint(self, trainer: Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        if self._fits and "current_model_state" in checkpoint:
            restore_live(pl_module, checkpoint)

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        self._fits = stage == "fit"
        if self._fits:
            self._average.take_out(pl_module)

    def on_fit_start(self, trainer: Trainer, pl_module: Any) -> None:
        if len(trainer.optimizers) != 1 or len(trainer.lr_scheduler_configs) > 1:
            raise MisconfigurationException(
                f"`StochasticWeightAveraging` works with one optimizer and at most one scheduler, and there are "
                f"{len(trainer.optimizers)} and {len(trainer.lr_scheduler_configs)}. Use `WeightAveraging` instead."
            )
        if _normalized(pl_module) and not getattr(pl_module, "automatic_optimization", True):
            raise MisconfigurationException(
                "`StochasticWeightAveraging` cannot compute the statistics of batch normalization with manual "
                "optimization, as `training_step` would train. Use `WeightAveraging`, which averages them."
            )
        epochs, start = trainer.max_epochs, self._epoch_start
        if isinstance(start, float) and (epochs is None or epochs < 0):
            raise MisconfigurationException(
                f"`swa_epoch_start={start}` is a share of a training without `max_epochs`. Give an epoch, e.g. 10."
            )
        self._start = max(int(epochs * start) if isinstance(start, float) and epochs else int(start), 1) - 1

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """A run that resumes within an epoch sees no start of it."""
        self._let_scheduler_rest(trainer)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        if trainer.current_epoch < self._start:
            return
        self._let_scheduler_rest(trainer)
        groups = trainer.optimizers[0].param_groups
        self._initial_lrs = self._initial_lrs or [float(group["lr"]) for group in groups]
        lrs = self._lrs * len(groups) if len(self._lrs) == 1 else self._lrs
        done = (
            min(1.0, (trainer.current_epoch - self._start) / self._annealing_epochs) if self._annealing_epochs else 1.0
        )
        share = (1 - math.cos(math.pi * done)) / 2 if self._cosine else done
        for group, first, last in zip(groups, self._initial_lrs, lrs, strict=True):
            group["lr"] = first + (last - first) * share

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        epoch = trainer.current_epoch
        if epoch >= self._start and epoch > self._latest_update_epoch and epoch_is_whole(trainer):
            self._average.update(pl_module)
            self._latest_update_epoch = epoch

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        self._average.put_in(pl_module)
        if self._average.live and _normalized(pl_module):
            compute_batch_norm(trainer, pl_module)

    def _let_scheduler_rest(self, trainer: Trainer) -> None:
        if trainer.current_epoch >= self._start:
            for config in trainer.lr_scheduler_configs:
                config.frequency = sys.maxsize


def _normalized(module: nn.Module) -> list[_BatchNorm]:
    return [m for m in module.modules() if isinstance(m, _BatchNorm) and m.training and m.running_mean is not None]


@torch.no_grad()
def compute_batch_norm(trainer: Any, module: Any) -> None:
    """Statistics of batch normalization for the weights as they are: the mean over one epoch of training batches."""
    layers = {layer: layer.momentum for layer in _normalized(module)}
    loop = trainer.fit_loop
    with torch.random.fork_rng(), _silent(module):
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None  # all batches count alike
        for i, batch in enumerate(loop.data.loader):
            if i >= loop.num_batches:
                break
            batch = batch[0] if hasattr(loop.data.loader, "iterables") else batch
            loop.optimization.training_step(batch if trainer.transfer is None else trainer.transfer(batch, 0), i)
    for layer, momentum in layers.items():
        layer.momentum = momentum
        for statistic in (layer.running_mean, layer.running_var):
            if statistic is not None:
                statistic.copy_(trainer.engine.all_reduce(statistic, "mean"))


@contextmanager
def _silent(module: Any) -> Iterator[None]:
    """Nothing is logged inside: these batches belong to no epoch."""
    names = [name for name in ("log", "log_dict") if hasattr(module, name)]
    for name in names:
        setattr(module, name, lambda *_, **__: None)
    try:
        yield
    finally:
        for name in names:
            delattr(module, name)
