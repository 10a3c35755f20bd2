"""Prediction: the outputs of every batch, kept, written or streamed."""

from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

import torch
from lt_interfaces import is_overridden

from lt_loops.evaluation import evaluation_mode, remember_modes, training_mode
from lt_loops.hooks import indexed, trimmed
from lt_loops.parcel import Parcel
from lt_loops.regrouping import dealt_sampler
from lt_loops.sources import Source, batches, complete, flat, limited

_NOTHING = object()


class PredictionLoop:
    """One pass over the loaders that keeps, hands out or drops the outputs.

    ::

        on_predict_model_eval
        on_predict_start
        on_predict_epoch_start
        for batch in loader:
            on_predict_batch_start
            predict_step
            on_predict_batch_end
        on_predict_epoch_end
        on_predict_end
    """

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer
        self.source = Source("predict", None, None, None)
        self.given: Any = None
        self.loaders: list[Any] = []
        self.num_batches: list[float] = []
        self.predictions: list[Any] = []
        self.batch_indices: list[int] | None = None
        self._most: list[float] = []
        self._total: list[int | None] = []
        """Batches of all ranks together, for each loader that was dealt out over them."""

    def setup(self, limit: int | float) -> None:
        """Request the loaders and count their batches."""
        trainer = self.trainer
        self.given = self.source.request(trainer.clock)
        given = [complete(x) for x in flat(self.given)]
        self.loaders = [
            trainer.engine.setup_dataloaders(
                x,
                use_distributed_sampler=trainer.use_distributed_sampler,
                move_to_device=False,
                even=False,
                whole_batches=True,
            )
            for x in given
        ]
        self._total = [None if dealt is x else len(x) for dealt, x in zip(self.loaders, given, strict=True)]
        counts = [limited("limit_predict_batches", x, limit) for x in self.loaders]
        self.num_batches, self._most = [c[0] for c in counts], [c[1] for c in counts]

    def run(self, keep: bool) -> list[Any] | None:
        """All outputs on the CPU, flat for one loader, a list for each of several; None unless kept.

        Of all ranks, on all ranks, in the order of the data. `predictions` are this rank's own.
        """
        self.predictions = [[] for _ in self.loaders]
        moves = self.trainer.engine.device.type != "cpu"
        for dataloader_idx, output in self.stream():
            if keep:
                self.predictions[dataloader_idx].append(on_cpu(output) if moves else output)
        if not keep:
            return None
        whole = [self._of_all_ranks(i) for i in range(len(self.loaders))]
        return whole[0] if len(self.loaders) == 1 else whole

    def _of_all_ranks(self, i: int) -> list[Any]:
        own: list[Any] = self.predictions[i]
        total = self._total[i]
        if total is None:
            return own
        parcel = Parcel((dealt_sampler(self.loaders[i]).rank, own))
        shares = dict(other.content for other in self.trainer.engine.all_gather(parcel))
        turns = zip_longest(*(shares[rank] for rank in sorted(shares)), fillvalue=_NOTHING)
        return [output for turn in turns for output in turn if output is not _NOTHING][:total]

    def stream(self) -> Iterator[tuple[int, Any]]:
        """Each output with the index of its loader, one at a time; nothing is kept."""
        trainer, hooks, module = self.trainer, self.trainer.hooks, self.trainer.module
        modes = remember_modes(module)
        evaluation_mode(module, "predict")
        trainer.recorder.close("predict")
        try:
            hooks.on_predict_start()
            hooks.on_predict_epoch_start()
            for i, loader in enumerate(self.loaders):
                yield from self._one_loader(loader, i)
            hooks.on_predict_epoch_end()
            hooks.on_predict_end()
        finally:
            training_mode(trainer.module, "predict", modes)

    def _one_loader(self, loader: Any, i: int) -> Iterator[tuple[int, Any]]:
        trainer, hooks, move = self.trainer, self.trainer.hooks, self.trainer.transfer
        name = "predict_step" if is_overridden(trainer.module, "predict_step") else "forward"
        step = trainer.engine.bind(trainer.evaluated, name if name == "predict_step" else "__call__")
        if name == "predict_step":
            step = indexed(step, trainer.module.predict_step, name, len(self.loaders))
        else:
            step = trimmed(step, 3, takes=1)
        step = trainer.clock.strategy("predict_step", step)
        on_start, on_end = hooks.on_predict_batch_start, hooks.on_predict_batch_end
        indices = index_stream(loader) if trainer.needs_batch_indices else None
        data = trainer.clock.batches("[_PredictionLoop].predict_next", batches(loader, self._most[i]))
        for batch_idx, batch in enumerate(data):
            if indices is not None:
                self.batch_indices = next(indices, None)
            if move is not None:
                batch = move(batch, i)
            on_start(batch, batch_idx, i)
            output = step(batch, batch_idx, i)
            on_end(output, batch, batch_idx, i)
            yield i, output
            if trainer.stop_signal is not None:
                raise trainer.stop_signal


def index_stream(loader: Any) -> Iterator[list[int]] | None:
    """The dataset indices of each batch, where the order is not random."""
    sampler = getattr(loader, "batch_sampler", None)
    if sampler is None or isinstance(getattr(sampler, "sampler", None), torch.utils.data.RandomSampler):
        return None
    return (list(i) for i in sampler)


def on_cpu(output: Any) -> Any:
    """Tensors in any nesting, on the CPU."""
    return torch.utils._pytree.tree_map(lambda x: x.cpu() if isinstance(x, torch.Tensor) else x, output)
