"""What `self.log` collects: values stay on their device, are accumulated there, and are read once per interval.

A call during a step costs a dictionary look-up and at most one small tensor operation. Nothing is read from the device,
formatted or reduced over ranks until somebody asks for it.
"""

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from lt_interfaces import MisconfigurationException, rank_zero_warn
from torch import Tensor

from lt_loops.entry import AXES, Entry, is_metric, reduction


@dataclass(frozen=True, slots=True)
class Scope:
    """A stretch of the loop in which logging has the same defaults and permissions."""

    name: str
    on_step: bool = False
    on_epoch: bool = True
    steps: bool = True
    """False where only epoch values make sense."""
    allowed: bool = True


TRAIN_STEP = Scope("the training step", on_step=True, on_epoch=False)
EVAL_STEP = Scope("the evaluation step")
CLOSED = Scope("a place outside the loops", allowed=False)


def epoch_scope(hook: str) -> Scope:
    """Logging from a hook that runs once an epoch."""
    return Scope(f"`{hook}`", steps=False)


@dataclass(slots=True)
class Collection:
    """The values of one stage: one dictionary of entries for each loader, one for the hooks outside the batches."""

    stage: str
    loaders: list[dict[str, Entry]] = field(default_factory=lambda: [{}])
    outside: dict[str, Entry] = field(default_factory=dict)
    has_steps: bool = False

    def each(self) -> Iterable[tuple[Entry, str]]:
        """Entries with the suffix of their loader."""
        for i, entries in enumerate(self.loaders):
            for entry in entries.values():
                yield entry, f"/dataloader_idx_{i}" if len(self.loaders) > 1 and entry.add_dataloader_idx else ""
        for entry in self.outside.values():
            yield entry, ""


class Recorder:
    """Takes values from `self.log`, keeps them where they are, hands out records."""

    def __init__(self, engine: Any, warn_without_logger: bool = False) -> None:
        self.engine = engine
        self.train = Collection("train")
        self._warn_without_logger = warn_without_logger
        self.finished: dict[str, Tensor] = {}
        self._logged: dict[str, float] = {}
        self._bar: dict[str, Any] = {}
        self.silent = False
        self._stack: list[tuple[Collection, dict[str, Entry], Scope]] = []
        self.collection = self.train
        self._entries = self.train.outside
        self.scope = CLOSED
        self.tick = 0
        self.batch: Any = None
        self._batch_size: int | None = None

    def enter(self, collection: Collection) -> None:
        """Collect for another stage until `leave`."""
        self._stack.append((self.collection, self._entries, self.scope))
        self.collection, self._entries, self.scope = collection, collection.outside, CLOSED

    def leave(self) -> None:
        """Back to the stage before."""
        self.collection, self._entries, self.scope = self._stack.pop()

    def at_steps(self, scope: Scope, loader: int = 0) -> None:
        """From here on values belong to batches of a loader."""
        self.scope, self._entries = scope, self.collection.loaders[loader]

    def at_epoch(self, hook: str) -> None:
        """From here on values belong to the epoch."""
        self.scope, self._entries = epoch_scope(hook), self.collection.outside

    def close(self) -> None:
        """From here on logging is an error."""
        self.scope = CLOSED

    def next_batch(self, batch: Any) -> None:
        """A new batch: one more value for each name, its size found only if somebody needs it."""
        self.tick += 1
        self.batch = batch
        self._batch_size = None

    def log(
        self,
        name: str,
        value: Any,
        prog_bar: bool = False,
        logger: bool | None = None,
        on_step: bool | None = None,
        on_epoch: bool | None = None,
        reduce_fx: Any = "mean",
        enable_graph: bool = False,
        sync_dist: bool = False,
        sync_dist_group: Any = None,
        add_dataloader_idx: bool = True,
        batch_size: int | None = None,
        metric_attribute: str | None = None,
        rank_zero_only: bool = False,
    ) -> None:
        """Record a number, a one-element tensor or a metric object under `name`."""
        if self.silent:
            return
        entry = self._entries.get(name)
        if entry is None:
            entry = self._new_entry(
                name, value, prog_bar, logger, on_step, on_epoch, reduce_fx, sync_dist, add_dataloader_idx,
                rank_zero_only,
            )  # fmt: skip
        elif entry.tick == self.tick and entry.live:
            self._again(entry)
        entry.tick = self.tick
        entry.live = True
        if isinstance(value, Tensor):
            if value.requires_grad:
                value = value if enable_graph else value.detach()
            elif entry.keeps:
                value = value.clone()
        if entry.on_step:
            entry.value = value
        if entry.on_epoch and not entry.is_metric:
            if entry.weighs and batch_size is None:
                batch_size = self._batch_size or self._size_of_batch()
            entry.add(value, batch_size or 1)

    def _new_entry(
        self,
        name: str,
        value: Any,
        prog_bar: bool,
        logger: bool | None,
        on_step: bool | None,
        on_epoch: bool | None,
        reduce_fx: Any,
        sync_dist: bool,
        add_dataloader_idx: bool,
        rank_zero_only: bool,
    ) -> Entry:
        scope = self.scope
        if not scope.allowed:
            raise MisconfigurationException(
                f"`self.log({name!r}, ...)` was called from {scope.name}, where no value can be collected. "
                "Log from a step, a batch hook or an epoch hook."
            )
        on_step = scope.on_step if on_step is None else on_step
        on_epoch = scope.on_epoch if on_epoch is None else on_epoch
        if on_step and not scope.steps:
            raise MisconfigurationException(
                f"`self.log({name!r}, on_step=True)` was called from {scope.name}, which runs once an epoch. "
                "Leave `on_step` out there."
            )
        if not (on_step or on_epoch):
            raise MisconfigurationException(
                f"`self.log({name!r}, on_step=False, on_epoch=False)` would record nothing. Set one of them."
            )
        if name in AXES:
            rank_zero_warn(f"`self.log({name!r}, ...)` is left out: every record carries `{name}` already.")
            logger = prog_bar = False
        metric = is_metric(value)
        entry = Entry(
            name=name,
            on_step=on_step,
            on_epoch=on_epoch,
            prog_bar=prog_bar,
            logger=logger is not False,
            reduce=reduction(name, reduce_fx),
            sync_step=sync_dist,
            add_dataloader_idx=add_dataloader_idx,
            rank_zero_only=rank_zero_only,
            is_metric=metric,
            metric=value if metric else None,
            place=_caller(),
            scope=scope.name,
        )
        entry.check(value)
        self._check_collisions(entry)
        if on_step:
            self.collection.has_steps = True
        self._entries[name] = entry
        return entry

    def _check_collisions(self, entry: Entry) -> None:
        """The same output name from two places of one stage would overwrite each other silently."""
        others = [*self.collection.loaders, self.collection.outside]
        for other in (e for entries in others if entries is not self._entries for e in entries.values()):
            same = other.add_dataloader_idx is False or len(self.collection.loaders) == 1 or other.scope != entry.scope
            clash = set(other.names()) & set(entry.names())
            if clash and same and (other.place != entry.place):
                raise MisconfigurationException(
                    f"The metric `{clash.pop()}` is logged from two places, {other.place} and {entry.place}. "
                    "Give one of them another name."
                )
        for other in self._entries.values():
            clash = set(other.names()) & set(entry.names())
            if clash:
                raise MisconfigurationException(
                    f"The metric `{clash.pop()}` is logged from two places, {other.place} and {entry.place}. "
                    "Give one of them another name."
                )

    def _again(self, entry: Entry) -> None:
        """Twice in one batch is right for a closure that runs again, wrong for two lines with one name."""
        place = _caller()
        if place != entry.place:
            raise MisconfigurationException(
                f"The metric `{entry.name}` is logged twice in one batch, at {entry.place} and {place}. "
                "Give one of them another name."
            )

    def _size_of_batch(self) -> int:
        self._batch_size = size = batch_size_of(self.batch)
        return size

    def step_record(self) -> dict[str, float]:
        """The newest step values that go to the loggers; one read of the device."""
        found = {}
        for entry, suffix in self.collection.each():
            if entry.on_step and entry.live and entry.logger and entry.value is not None:
                found[entry.step_name + suffix] = self._step_value(entry)
        values = dict(zip(found, read(found.values()), strict=True))
        self._logged.update(values)
        return values

    def _step_value(self, entry: Entry) -> Any:
        value = entry.step_value()
        if entry.sync_step and self.engine.world_size > 1 and not entry.rank_zero_only and not entry.is_metric:
            value = self.engine.all_reduce(_tensor(value, self.engine.device), entry.reduce.name)
        return value

    def epoch_values(self) -> list[tuple[Entry, str, Tensor]]:
        """The reduced values of an epoch, over all ranks, in the order they were first logged."""
        live = [(e, s) for e, s in self.collection.each() if e.on_epoch and e.live]
        if self.engine.world_size > 1:
            return self._reduced_over_ranks(live)
        return [(e, s, e.epoch_value()) for e, s in live]

    def _reduced_over_ranks(self, live: list[tuple[Entry, str]]) -> list[tuple[Entry, str, Tensor]]:
        """One packed collective per kind of reduction; a rank that saw no batch adds nothing."""
        mine = {e.name + s: (e, s) for e, s in live}
        order = self.engine.broadcast(
            [(k, e.reduce.name, e.is_metric) for k, (e, _) in mine.items() if not e.rank_zero_only]
        )
        values: dict[str, Tensor] = {}
        device = self.engine.device
        for kind in ("mean", "sum", "min", "max"):
            keys = [k for k, name, metric in order if name == kind and not metric]
            if not keys:
                continue
            parts = [mine[k][0].parts() if k in mine else (None, 0.0) for k in keys]
            none = {"min": float("inf"), "max": float("-inf")}.get(kind, 0.0)
            totals = [torch.tensor(none) if t is None else t.detach() for t, _ in parts]
            packed = torch.stack([t.to(device, torch.float64).reshape(()) for t in totals])
            if kind == "mean":
                weights = torch.tensor([w for _, w in parts], device=device, dtype=torch.float64)
                total, weight = self.engine.all_reduce(torch.stack([packed, weights]), "sum")
                packed = total / weight
            else:
                packed = self.engine.all_reduce(packed, kind)
            values.update(zip(keys, packed.to(torch.get_default_dtype()), strict=True))
        return [(e, s, values[k] if k in values else e.epoch_value()) for k, (e, s) in mine.items()]

    def end_epoch(self) -> dict[str, float]:
        """Close the epoch of this stage: its record for the loggers; the accumulators start anew."""
        out: dict[str, Any] = {}
        for entry, suffix, value in self.epoch_values():
            value = value.detach()
            if entry.logger:
                out[entry.epoch_name + suffix] = value
            for key in {entry.name + suffix, entry.epoch_name + suffix}:
                self.finished[key] = value
            if entry.prog_bar:
                self._bar[entry.epoch_name + suffix] = value
        for entry, suffix in self.collection.each():
            if entry.live and entry.on_step and not entry.on_epoch and entry.value is not None:
                self.finished[entry.name + suffix] = _tensor(entry.step_value())
                if entry.prog_bar:
                    self._bar[entry.step_name + suffix] = entry.step_value()
            entry.reset()
        record = dict(zip(out, read(out.values()), strict=True))
        self._logged.update(record)
        return record

    def results(self) -> list[dict[str, Tensor]]:
        """Epoch values by loader, those of the epoch hooks in each; read before `end_epoch`."""
        rows: list[dict[str, Tensor]] = [{} for _ in self.collection.loaders]
        members = [set(map(id, entries.values())) for entries in self.collection.loaders]
        for entry, suffix, value in self.epoch_values():
            for row, own in zip(rows, members, strict=True):
                if id(entry) in own or not any(id(entry) in m for m in members):
                    row[entry.epoch_name + suffix] = value
        return rows

    @property
    def logged(self) -> dict[str, Tensor]:
        """What the loggers got last under each name."""
        return {name: torch.tensor(value) for name, value in self._logged.items()}

    @property
    def callback_metrics(self) -> dict[str, Any]:
        """The latest value of everything, epoch values and training steps, as tensors."""
        for entry, suffix in self.train.each():
            if entry.on_step and entry.live and entry.value is not None:
                value = _tensor(entry.step_value())
                self.finished[entry.name + suffix] = self.finished[entry.step_name + suffix] = value
        return self.finished

    @property
    def progress_bar_metrics(self) -> dict[str, float]:
        """The latest values meant for the bar, as numbers; reads the device."""
        latest = dict(self._bar)
        for entry, suffix in self.collection.each():
            if entry.prog_bar and entry.on_step and entry.live and entry.value is not None:
                latest[entry.step_name + suffix] = entry.step_value()
        return dict(zip(latest, read(latest.values()), strict=True))

    def forget(self) -> None:
        """Drop what a former run left."""
        self.train = self.collection = Collection("train")
        self._entries, self.scope = self.train.outside, CLOSED
        self.finished, self._logged, self._bar = {}, {}, {}


def read(values: Iterable[Any]) -> list[float]:
    """Numbers out of tensors and numbers, with one transfer for all tensors of a device."""
    values = list(values)
    tensors = [v.detach() for v in values if isinstance(v, Tensor)]
    if len({t.device for t in tensors}) == 1 and tensors[0].device.type != "cpu":
        kind = torch.float32 if tensors[0].device.type == "mps" else torch.float64
        numbers = iter(torch.stack([t.reshape(()).to(kind) for t in tensors]).tolist())
    else:
        numbers = iter([t.item() for t in tensors])
    return [next(numbers) if isinstance(v, Tensor) else v for v in values]


def batch_size_of(batch: Any) -> int:
    """Size of the first dimension of the first tensor in a batch."""
    first = batch
    while type(first) in (list, tuple) and first:
        first = first[0]
    if isinstance(first, Tensor) and first.ndim:
        return first.shape[0]  # as below, without the walk
    for leaf in torch.utils._pytree.tree_iter(batch):
        if isinstance(leaf, Tensor):
            return leaf.shape[0] if leaf.ndim else 1
        if hasattr(leaf, "shape") and len(leaf.shape):
            return int(leaf.shape[0])
    raise MisconfigurationException(
        f"The size of a batch of type `{type(batch).__name__}` cannot be inferred, and a mean over the epoch needs it. "
        "Pass `self.log(..., batch_size=n)`."
    )


def _tensor(value: Any, device: torch.device | None = None) -> Tensor:
    if not isinstance(value, Tensor):
        value = torch.tensor(value)
    tensor: Tensor = value.detach()
    tensor = tensor if tensor.is_floating_point() else tensor.float()
    return tensor.to(device) if device is not None else tensor


def _caller() -> str:
    """File and line of the user's call of `log`, found without a traceback object."""
    frame: Any = sys._getframe(1)
    while frame and frame.f_globals.get("__name__", "").split(".")[0] in ("lt_loops", "lt_module"):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame else "an unknown place"
