"""Validation and test: each sample of each loader once, under no gradient, in evaluation mode."""

from collections.abc import Iterable
from typing import Any

import torch
from lt_interfaces import Stage, is_overridden, rank_zero_warn
from torch import Tensor, nn

from lt_loops.collection import EVAL_STEP, Collection
from lt_loops.feed import own_generators
from lt_loops.hooks import Call, indexed
from lt_loops.sources import Source, batches, flat, is_combined, limited, set_epoch


class EvaluationLoop:
    """One pass over the loaders of a stage, "validate" or "test".

    For each loader::

        on_{validation,test}_model_eval
        on_{validation,test}_start
        on_{validation,test}_epoch_start
        for batch in loader:
            on_{validation,test}_batch_start
            {validation,test}_step
            on_{validation,test}_batch_end
        on_{validation,test}_epoch_end
        on_{validation,test}_end
        on_{validation,test}_model_train
    """

    def __init__(self, trainer: Any, stage: str) -> None:
        self.trainer = trainer
        self.stage = stage
        self.word = "validation" if stage == "validate" else stage
        self.source = Source(stage, None, None, None)
        self.loaders: list[Any] = []
        self.given: Any = None
        self.collection = Collection(stage)
        self.num_batches: list[float] = []
        self._most: list[float] = []
        self.over = False
        """True once the last pass has its results."""
        self.generators: list[torch.Generator] = []
        self._before: list[Tensor] | None = None
        """The states of the generators as they were when the pass that runs began."""

    def setup(self, limit: int | float, even: bool = False) -> None:
        """Request the loaders and count their batches."""
        trainer = self.trainer
        self.given = self.source.request(trainer.clock)
        loaders = [
            trainer.engine.setup_dataloaders(
                x, use_distributed_sampler=trainer.use_distributed_sampler, move_to_device=False, even=even
            )
            for x in flat(self.given)
        ]
        self.loaders = [trainer.combined(x, "min_size") if is_combined(x) else x for x in loaders]
        name = f"limit_{'val' if self.stage == 'validate' else self.stage}_batches"
        if trainer.overfit_batches and self.stage == "validate":
            name = "overfit_batches"
        counts = [limited(name, x, limit) for x in self.loaders]
        self.num_batches, self._most = [c[0] for c in counts], [c[1] for c in counts]
        self.collection = Collection(self.stage, loaders=[{} for _ in self.loaders])
        self.generators, self._before = [g for x in self.loaders for g in own_generators(x)], None

    def state_dict(self) -> list[Tensor]:
        """The states of the loaders' own generators, from which a pass that runs begins again."""
        return [g.get_state() for g in self.generators] if self._before is None else self._before

    def load_state_dict(self, states: Iterable[Tensor]) -> None:
        """Let the next pass draw from saved states."""
        for generator, state in zip(self.generators, states, strict=False):
            generator.set_state(state)

    def step(self) -> Call:
        """The module's step, as the engine runs it, taking (batch, batch_idx, dataloader_idx)."""
        name = f"{self.word}_step"
        step = self.trainer.engine.bind(self.trainer.evaluated, name)
        fitted = indexed(step, getattr(self.trainer.module, name), name, len(self.loaders))
        measured: Call = self.trainer.clock.strategy(name, fitted)
        return measured

    def run(self, most: float = float("inf")) -> list[dict[str, Any]]:
        """Evaluate; returns one dict of metrics per loader."""
        trainer, hooks, recorder, word = self.trainer, self.trainer.hooks, self.trainer.recorder, self.word
        self.over, self._before = False, self.state_dict()
        recorder.enter(self.collection)
        modes = remember_modes(trainer.module)
        evaluation_mode(trainer.module, word)
        for loader in self.loaders:
            set_epoch(loader, trainer.progress.epoch)
        try:
            for moment in ("start", "epoch_start"):
                recorder.at_epoch(f"on_{word}_{moment}")
                getattr(hooks, f"on_{word}_{moment}")()
            step = self.step()
            for i, loader in enumerate(self.loaders):
                recorder.at_steps(EVAL_STEP, i)
                self._one_loader(loader, i, step, min(most, self._most[i]))
            recorder.at_epoch(f"on_{word}_epoch_end")
            recorder.reduce()
            getattr(hooks, f"on_{word}_epoch_end")()
            recorder.close(f"on_{word}_end")
            recorder.reduce()
            rows: list[dict[str, Any]] = recorder.results()
            record = recorder.end_epoch()
            if record and trainer.stage != Stage.SANITY_CHECK:
                trainer.call_loggers.record(record)
            self.over, self._before = True, None
            getattr(hooks, f"on_{word}_end")()
        finally:
            recorder.leave()
            training_mode(trainer.module, word, modes)
        return rows

    def _one_loader(self, loader: Any, i: int, step: Call, most: float) -> None:
        trainer, recorder, move = self.trainer, self.trainer.recorder, self.trainer.transfer
        on_start = getattr(trainer.hooks, f"on_{self.word}_batch_start")
        on_end = getattr(trainer.hooks, f"on_{self.word}_batch_end")
        logs_returns, collection = not hasattr(trainer.module, "log"), self.collection
        sends_steps = trainer.stage != Stage.SANITY_CHECK
        prefix = "val" if self.stage == "validate" else self.stage
        data = trainer.clock.batches(f"[_EvaluationLoop].{prefix}_next", batches(loader, most))
        for batch_idx, batch in enumerate(data):
            if batch is None:
                rank_zero_warn(f"The loader to {self.stage} on gave None for a batch: it is skipped.")
                continue
            if move is not None:
                batch = move(batch, i)
            recorder.next_batch(batch)
            on_start(batch, batch_idx, i)
            output = step(batch, batch_idx, i)
            if logs_returns and output is not None:
                self._log_returned(output)
            on_end(output, batch, batch_idx, i)
            if collection.has_steps and sends_steps:
                trainer.call_loggers.record(recorder.step_record())
            if trainer.stop_signal is not None and trainer.stop_requests.are_due():
                raise trainer.stop_signal

    def _log_returned(self, output: Any) -> None:
        values = (
            output if isinstance(output, dict) else {f"{'val' if self.word == 'validation' else 'test'}_loss": output}
        )
        for name, value in values.items():
            if isinstance(value, (int, float)) or (isinstance(value, torch.Tensor) and value.numel() == 1):
                self.trainer.recorder.log(name, value, prog_bar=True)


def remember_modes(module: nn.Module) -> list[tuple[nn.Module, bool]]:
    """Every submodule with its train flag."""
    return [(m, m.training) for m in module.modules()]


def evaluation_mode(module: Any, word: str) -> None:
    """Evaluation mode, by the module's own hook if it has one."""
    hook = f"on_{word}_model_eval"
    getattr(module, hook)() if is_overridden(module, hook) else module.eval()


def training_mode(module: Any, word: str, modes: list[tuple[nn.Module, bool]]) -> None:
    """Every submodule as it was, unless the module has a hook of its own."""
    hook = f"on_{word}_model_train"
    if is_overridden(module, hook):
        getattr(module, hook)()
        return
    for submodule, flag in modes:
        if submodule.training != flag:
            submodule.training = flag
