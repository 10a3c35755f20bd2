"""One logged name: its latest value, its running reduction, and where it was first logged."""

import math
from dataclasses import dataclass, field
from numbers import Number
from typing import Any, NamedTuple

import torch
from lt_interfaces import MisconfigurationException, did_you_mean
from torch import Tensor

AXES = ("epoch", "step")


class Reduction(NamedTuple):
    """How values become one: a name that collectives know, or a function of all of them."""

    name: str
    function: Any = None


_SPELLINGS: dict[Any, str] = {
    "mean": "mean", "avg": "mean", torch.mean: "mean", torch.sum: "sum", sum: "sum", torch.max: "max", max: "max",
    torch.min: "min", min: "min", "sum": "sum", "max": "max", "min": "min",
}  # fmt: skip


def reduction(name: str, reduce_fx: Any) -> Reduction:
    """The reduction behind a `reduce_fx` argument."""
    try:
        return Reduction(_SPELLINGS[reduce_fx.lower() if isinstance(reduce_fx, str) else reduce_fx])
    except (KeyError, TypeError):
        if callable(reduce_fx):
            return Reduction("own", reduce_fx)
    raise MisconfigurationException(
        f"`self.log({name!r}, reduce_fx={reduce_fx!r})` names no reduction. "
        + did_you_mean(str(reduce_fx), ("mean", "sum", "min", "max"))
    )


def is_metric(value: Any) -> bool:
    """True for objects that accumulate themselves, as torchmetrics' do; recognised by what they can do."""
    return not isinstance(value, Tensor) and all(hasattr(value, n) for n in ("compute", "reset", "update"))


@dataclass(slots=True, kw_only=True)
class Entry:
    """A name within a stage and a loader."""

    name: str
    on_step: bool
    on_epoch: bool
    prog_bar: bool
    logger: bool
    reduce: Reduction
    add_dataloader_idx: bool
    rank_zero_only: bool
    is_metric: bool
    metric: Any
    place: str
    scope: str
    value: Any = None
    total: Any = None
    weight: float = 0.0
    tick: int = -1
    live: bool = False
    noted: int = -1
    reduced: Any = None
    weighs: bool = True
    """Only a mean over batches needs their sizes."""
    keeps: bool = field(init=False)
    """Values outlast the call of `log`, so they are copied: what was logged may be written into."""
    trusted: bool = False
    """Values need no copy: they are results of the forward pass, and one was seen to be left alone by all."""
    version: int | None = None
    watched: tuple[Tensor | None, int] = (None, 0)

    def __post_init__(self) -> None:
        self.weighs = self.weighs and self.reduce.name == "mean"
        self.keeps = self.on_step or self.reduce.name == "own"

    @property
    def forks(self) -> bool:
        """Logged by step and by epoch, so that each needs a name of its own."""
        return self.on_step and self.on_epoch

    @property
    def step_name(self) -> str:
        return self.name + "_step" if self.forks else self.name

    @property
    def epoch_name(self) -> str:
        return self.name + "_epoch" if self.forks else self.name

    def names(self) -> list[str]:
        """The names under which values leave."""
        return [self.step_name, self.epoch_name] if self.forks else [self.name]

    def check(self, value: Any) -> None:
        """Refuse what is not one number."""
        if self.is_metric or (isinstance(value, Number) or (isinstance(value, Tensor) and value.numel() == 1)):
            return
        what = f"a tensor of {value.numel()} elements" if isinstance(value, Tensor) else f"a `{type(value).__name__}`"
        raise ValueError(
            f"`self.log({self.name!r}, ...)` was given {what}. "
            "Log one number: reduce it first, or use `self.log_dict` for several."
        )

    def add(self, value: Any, weight: int) -> None:
        """Take one more value into the epoch."""
        if self.reduce.name == "mean":
            self._add_weighted(value, weight)
            return
        kind = self.reduce.name
        if kind == "own":
            self.total = [] if self.total is None else self.total
            self.total.append(value)
        elif self.total is None:
            self.total = _accumulator(value) if isinstance(value, Tensor) else value
        elif isinstance(self.total, Tensor):
            value = _addend(value) if isinstance(value, Tensor) else torch.as_tensor(value, device=self.total.device)
            if kind == "sum":
                self.total.add_(value)
            else:
                torch.minimum(self.total, value, out=self.total) if kind == "min" else torch.maximum(
                    self.total, value, out=self.total
                )
        elif kind == "sum":
            self.total = self.total + value
        else:
            self.total = min(self.total, value) if kind == "min" else max(self.total, value)

    def _add_weighted(self, value: Any, weight: int) -> None:
        self.weight += weight
        if not isinstance(value, Tensor):
            self.total = value * weight if self.total is None else self.total + value * weight
        elif isinstance(self.total, Tensor):
            self.total.add_(_addend(value), alpha=weight)
        else:
            first = _accumulator(value) * weight
            self.total = first if self.total is None else self.total + first

    def take_over(self, earlier: "Entry") -> None:
        """Go on with what was gathered under this name before a restart."""
        if (earlier.reduce.name, earlier.is_metric) == (self.reduce.name, self.is_metric):
            self.value, self.total, self.weight = earlier.value, earlier.total, earlier.weight
            self.reduced, self.live = earlier.reduced, earlier.live

    def copied(self, value: Tensor, enable_graph: bool) -> Tensor:
        """The value as it is now; watches the tensor itself until the next call, to see whether copies are needed."""
        attached = value.requires_grad
        kept = value if enable_graph or not attached else value.detach()
        if attached and not value.is_leaf and not value._is_view() and self.reduce.name != "own":
            before, version = self.watched
            self.trusted = before is not None and before._version == version
            self.watched = (None, 0) if self.trusted else (kept, kept._version)
        self.version = None
        return kept.clone()

    def step_value(self) -> Any:
        """The latest value as a tensor or number; a metric object's is what its last call returned."""
        if not self.is_metric:
            if self.version is not None and isinstance(self.value, Tensor) and self.value._version != self.version:
                raise RuntimeError(
                    f"The tensor logged as `{self.name}` at {self.place} was changed in place before it was read. "
                    "Log `value.clone()`, or change it before it is logged."
                )
            return self.value
        latest = getattr(self.metric, "_forward_cache", None)
        return self.metric.compute() if latest is None else latest

    def parts(self) -> tuple[Tensor | None, float]:
        """Running total and weight, to be reduced over ranks."""
        if self.total is None:
            return None, 0.0
        return torch.as_tensor(self.total), self.weight

    def epoch_value(self) -> Tensor:
        """The reduced value so far."""
        if self.is_metric:
            return torch.as_tensor(self.metric.compute())
        kind = self.reduce.name
        if kind == "own":
            return torch.as_tensor(
                self.reduce.function(torch.stack([torch.as_tensor(v).reshape(()) for v in self.total]))
            )
        if self.total is None:
            return torch.tensor(math.nan)
        total = self.total if isinstance(self.total, Tensor) else torch.tensor(float(self.total))
        return (total / self.weight if kind == "mean" else total.clone()).reshape(())

    def reset(self) -> None:
        """Start the next epoch with nothing."""
        if self.is_metric and self.on_epoch:
            self.metric.reset()
        self.value = self.total = self.reduced = self.version = None
        self.weight, self.live = 0.0, False


def saved(entry: Entry) -> dict[str, Any]:
    """What an entry has gathered, as plain values."""
    kept = {name: getattr(entry, name) for name in _SAVED} | {"reduce": entry.reduce.name}
    total, own = entry.total, entry.reduce.name == "own" and entry.total is not None
    if entry.is_metric:
        kept["value"] = None
    kept["on_device"] = isinstance(total, Tensor) and total.device.type != "cpu"
    return kept | {"total": total, "so_far": entry.epoch_value() if own else None}


def resumed(kept: dict[str, Any], metric: Any, device: torch.device) -> Entry:
    """The entry again; a function that reduces comes back when it is logged again, its result so far stands for it."""
    so_far = kept["so_far"]
    reduce = Reduction(kept["reduce"], None if so_far is None else lambda _: so_far)
    entry = Entry(**{name: kept[name] for name in _SAVED}, reduce=reduce, metric=metric, total=kept["total"])
    if kept["on_device"]:
        entry.total = entry.total.to(device)
    if entry.is_metric:
        entry.value = metric
    return entry


_SAVED = (
    "name", "on_step", "on_epoch", "prog_bar", "logger", "add_dataloader_idx", "rank_zero_only", "is_metric", "place",
    "scope", "value", "weight", "live", "reduced", "weighs",
)  # fmt: skip


def _accumulator(value: Tensor) -> Tensor:
    """A fresh tensor of at least 32 bits to add into."""
    kind = value.dtype if value.dtype == torch.float64 else torch.float32
    return value.detach().to(kind, copy=True).reshape(())


def _addend(value: Tensor) -> Tensor:
    return value.reshape(()) if value.ndim else value
