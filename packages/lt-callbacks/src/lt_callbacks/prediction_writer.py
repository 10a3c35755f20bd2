"""Writes predictions as they are made or all at the end."""

from typing import Any

import torch
from lt_interfaces import Callback, MisconfigurationException, Trainer

INTERVALS = ("batch", "epoch", "batch_and_epoch")


class BasePredictionWriter(Callback):
    """Override `write_on_batch_end`, `write_on_epoch_end`, or both, and say which with `write_interval`.

    Only "epoch" keeps the predictions, on the CPU, until the end. `batch_indices` are the positions in the dataset of
    the samples in the batch, or None where the trainer does not know them.
    """

    def __init__(self, write_interval: str = "batch") -> None:
        if write_interval not in INTERVALS:
            raise MisconfigurationException(
                f"`write_interval` got {write_interval!r}. Give one of " + ", ".join(map(repr, INTERVALS)) + "."
            )
        self.interval = write_interval
        self._by_batch, self._by_epoch = "batch" in write_interval, "epoch" in write_interval
        self._predictions: list[list[Any]] = []
        self._indices: list[list[Any]] = []

    def write_on_batch_end(
        self,
        trainer: Trainer,
        pl_module: Any,
        prediction: Any,
        batch_indices: list[int] | None,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        """Write one batch."""
        raise NotImplementedError(f"`{type(self).__name__}` writes batches. Override `write_on_batch_end`.")

    def write_on_epoch_end(
        self, trainer: Trainer, pl_module: Any, predictions: list[Any], batch_indices: list[Any]
    ) -> None:
        """Write all: a list of batches, or one such list for each of several loaders."""
        raise NotImplementedError(f"`{type(self).__name__}` writes epochs. Override `write_on_epoch_end`.")

    def on_predict_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        self._predictions, self._indices = [], []

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        indices = getattr(getattr(trainer, "predict_loop", None), "batch_indices", None)
        if self._by_batch:
            self.write_on_batch_end(trainer, pl_module, outputs, indices, batch, batch_idx, dataloader_idx)
        if self._by_epoch:
            while len(self._predictions) <= dataloader_idx:
                self._predictions.append([])
                self._indices.append([])
            self._predictions[dataloader_idx].append(on_cpu(outputs))
            self._indices[dataloader_idx].append(indices)

    def on_predict_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        if self._by_epoch:
            alone = len(self._predictions) == 1
            predictions = self._predictions[0] if alone else self._predictions
            self.write_on_epoch_end(trainer, pl_module, predictions, self._indices[0] if alone else self._indices)
        self._predictions, self._indices = [], []


def on_cpu(outputs: Any) -> Any:
    """Tensors in lists, tuples and dicts moved to the CPU; everything else as it is."""
    if isinstance(outputs, torch.Tensor):
        return outputs.cpu()
    if isinstance(outputs, dict):
        return {key: on_cpu(value) for key, value in outputs.items()}
    if isinstance(outputs, tuple) and hasattr(outputs, "_fields"):
        return type(outputs)(*map(on_cpu, outputs))
    return type(outputs)(map(on_cpu, outputs)) if isinstance(outputs, (list, tuple)) else outputs
