"""What `self.log` collects: values stay on their device, are accumulated there, and are read once per interval.

A call during a step costs a dictionary look-up and at most one small tensor operation. Nothing is read from the device,
formatted or reduced over ranks until somebody asks for it.
"""

from collections.abc import Mapping, ValuesView
from typing import Any

from lt_interfaces import MisconfigurationException, rank_zero_warn
from torch import Tensor

from lt_loops.collection import Collection, Scope, closed, epoch_scope
from lt_loops.collisions import caller, check_collisions
from lt_loops.entry import AXES, Entry, is_metric, reduction, resumed, saved
from lt_loops.reduction import as_float, batch_size_of, read, reduced


class Recorder:
    """Takes values from `self.log`, keeps them where they are, hands out records."""

    def __init__(self, engine: Any) -> None:
        self.engine = engine
        self.train = Collection("train")
        self.finished: dict[str, Tensor] = {}
        self._logged: dict[str, Any] = {}
        self._bar: dict[str, Any] = {}
        self.silent = False
        self._stack: list[tuple[Collection, dict[str, Entry], Scope]] = []
        self.collection = self.train
        self._entries = self.train.outside
        self.scope = closed("a place outside the loops")
        self.tick = 0
        self.batch: Any = None
        self._batch_size: int | None = None
        self.device_reads = 0

    def enter(self, collection: Collection) -> None:
        """Collect for another stage until `leave`."""
        self._note_steps(self.collection)
        self._stack.append((self.collection, self._entries, self.scope))
        self.collection, self._entries, self.scope = collection, collection.outside, closed("a place outside the loop")

    def leave(self) -> None:
        """Back to the stage before."""
        self.collection, self._entries, self.scope = self._stack.pop()

    def at_steps(self, scope: Scope, loader: int = 0) -> None:
        """From here on values belong to batches of a loader."""
        self.scope, self._entries = scope, self.collection.loaders[loader]

    def at_epoch(self, hook: str) -> None:
        """From here on values belong to the epoch."""
        self.scope, self._entries = epoch_scope(hook), self.collection.outside

    def close(self, hook: str) -> None:
        """From here on logging is an error."""
        self.scope = closed(f"`{hook}`")

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
                name, value, prog_bar, logger, on_step, on_epoch, reduce_fx, add_dataloader_idx,
                rank_zero_only,
            )  # fmt: skip
        elif entry.tick == self.tick and entry.live:
            self._again(entry)
        entry.tick = self.tick
        entry.live = True
        if isinstance(value, Tensor):
            if entry.trusted and value.requires_grad:
                value = value if enable_graph else value.detach()
                entry.version = value._version
            elif entry.keeps:
                value = entry.copied(value, enable_graph)
            elif value.requires_grad and not enable_graph:
                value = value.detach()
            if sync_dist and entry.on_step and self.engine.world_size > 1 and not rank_zero_only:
                value = self.engine.all_reduce(value, entry.reduce.name)
        elif type(value) not in (float, int) and not entry.is_metric:
            value = float(value)
        if entry.on_step:
            entry.value = value
        if entry.on_epoch and not entry.is_metric:
            if entry.weighs and batch_size is None:
                batch_size = self._batch_size or self._size_of_batch()
            entry.add(value, batch_size or 1)
            if not self.scope.steps:  # to be read in the same hook; the value over all ranks follows after it
                self.finished[entry.name] = as_float(value)

    def log_dict(self, dictionary: Mapping[str, Any], **kwargs: Any) -> None:
        """Record several values."""
        for name, value in dictionary.items():
            self.log(name, value, **kwargs)

    def _new_entry(
        self,
        name: str,
        value: Any,
        prog_bar: bool,
        logger: bool | None,
        on_step: bool | None,
        on_epoch: bool | None,
        reduce_fx: Any,
        add_dataloader_idx: bool,
        rank_zero_only: bool,
    ) -> Entry:
        scope = self.scope
        if not scope.allowed:
            raise MisconfigurationException(
                f"`self.log({name!r}, ...)` was called from {scope.name}, where no value can be collected. "
                "Log from a step, a batch hook or an epoch hook of training or evaluation."
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
            add_dataloader_idx=add_dataloader_idx,
            rank_zero_only=rank_zero_only,
            is_metric=metric,
            metric=value if metric else None,
            place=caller(),
            scope=scope.name,
            weighs=scope.steps,
        )
        entry.check(value)
        check_collisions(entry, self._entries, self.collection)
        if on_step:
            self.collection.has_steps = True
        earlier = self.collection.resumed.pop((self._entries is self.collection.outside, name), None)
        if earlier is not None:
            entry.take_over(earlier)
        self._entries[name] = entry
        return entry

    def _again(self, entry: Entry) -> None:
        """Twice in one batch is right for a closure that runs again, wrong for two lines with one name."""
        place = caller()
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
        for entry, suffix in self.collection.each(self._entries):
            if entry.on_step and entry.live and entry.logger and entry.value is not None:
                found[entry.step_name + suffix] = entry.step_value()
        values = dict(zip(found, self._read(found.values()), strict=True))
        self._logged.update(values)
        return values

    def reduce(self) -> None:
        """Make the epoch's values final and readable; once for each, so what hooks log afterwards is reduced next."""
        fresh = [(e, s) for e, s in self.collection.each() if e.live and e.on_epoch and e.reduced is None]
        self._note_steps(self.collection)
        for entry, suffix, value in reduced(fresh, self.engine):
            entry.reduced = value = value.detach()
            self.finished[entry.name + suffix] = self.finished[entry.epoch_name + suffix] = value
            if entry.prog_bar:
                self._bar[entry.epoch_name + suffix] = value

    def end_epoch(self) -> dict[str, float]:
        """Close the epoch of this stage: its record for the loggers; the accumulators start anew."""
        self.reduce()
        out = {e.epoch_name + s: e.reduced for e, s in self.collection.each() if e.logger and e.reduced is not None}
        record = dict(zip(out, self._read(out.values()), strict=True))
        self._logged.update(record)
        for entry, _ in self.collection.each():
            entry.reset()
        self.collection.resumed.clear()
        return record

    def results(self) -> list[dict[str, Tensor]]:
        """Reduced values by loader, those of the epoch hooks in each."""
        rows: list[dict[str, Tensor]] = [{} for _ in self.collection.loaders]
        members = [set(map(id, entries.values())) for entries in self.collection.loaders]
        for entry, suffix in self.collection.each():
            for row, own in zip(rows, members, strict=True):
                if entry.reduced is not None and (id(entry) in own or not any(id(entry) in m for m in members)):
                    row[entry.epoch_name + suffix] = entry.reduced
        return rows

    def _note_steps(self, collection: Collection) -> None:
        """Take over step values that are newer than what was taken over last."""
        for entry, suffix in collection.each():
            if not entry.on_step or entry.value is None or entry.noted == entry.tick:
                continue
            entry.noted = entry.tick
            value = as_float(entry.step_value())
            if entry.logger:
                self._logged[entry.step_name + suffix] = value
            if collection is self.train:
                self.finished[entry.step_name + suffix] = value
                if entry.reduced is None:
                    self.finished[entry.name + suffix] = value
            if entry.prog_bar:
                self._bar[entry.step_name + suffix] = value

    @property
    def logged(self) -> dict[str, Tensor]:
        """The latest of what is meant for the loggers, whether they got it yet or not."""
        latest: dict[str, Any] = dict(self._logged)
        for entry, suffix in self.collection.each():
            if entry.on_step and entry.logger and entry.value is not None:
                latest[entry.step_name + suffix] = entry.step_value()
            if entry.logger and entry.reduced is not None:
                latest[entry.epoch_name + suffix] = entry.reduced
        return {name: as_float(value) for name, value in latest.items()}

    @property
    def callback_metrics(self) -> dict[str, Any]:
        """The latest value of everything, epoch values and training steps, as tensors."""
        self._note_steps(self.train)
        return self.finished

    @property
    def progress_bar_metrics(self) -> dict[str, float]:
        """The latest values meant for the bar, as numbers; reads the device."""
        self._note_steps(self.collection)
        return dict(zip(self._bar, self._read(self._bar.values()), strict=True))

    def state_dict(self, names: Mapping[int, str]) -> dict[str, Any]:
        """What the training epoch has gathered, and the latest values; `names` of metric objects by their id."""
        train = self.train
        places = [(False, e) for entries in train.loaders for e in entries.values()]
        places += [(True, e) for e in train.outside.values()] + [(k[0], e) for k, e in train.resumed.items()]
        entries = [{**saved(e), "outside": o, "metric": names.get(id(e.metric), "")} for o, e in places if e.live]
        return {"entries": entries, "finished": self.finished, "logged": self._logged, "bar": self._bar}

    def load_state_dict(self, state: dict[str, Any], metrics: Mapping[str, Any]) -> None:
        """Go on from a saved state; `metrics` are the metric objects by name."""
        for kept in state["entries"]:
            metric = metrics.get(kept["metric"])
            if kept["is_metric"] and metric is None:
                continue
            entry = resumed(kept, metric, self.engine.device)
            self.train.resumed[kept["outside"], entry.name] = entry
            self.train.has_steps |= entry.on_step
        self.finished.update(state["finished"])
        self._logged.update(state["logged"])
        self._bar.update(state["bar"])

    def _read(self, values: ValuesView[Any]) -> list[float]:
        self.device_reads += bool(values)
        return read(values)

    def forget(self) -> None:
        """Start a run with nothing of the former one; who holds the former one's values keeps them as they are."""
        self.train = self.collection = Collection("train")
        self._entries = self.train.outside
        self.scope = closed("a place outside the loops")
        self.finished, self._logged, self._bar = {}, {}, {}
