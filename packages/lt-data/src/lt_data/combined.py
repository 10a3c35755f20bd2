"""Several loaders as one."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch
from lt_interfaces import Stateful, did_you_mean
from torch.utils.data import DataLoader

from lt_data.current import Current
from lt_data.modes import MODES, Combination
from lt_data.passes import own_generators
from lt_data.resumable import ResumableLoader
from lt_data.structure import fill, leaves
from lt_data.tensors import TensorLoader

Mode = Literal["min_size", "max_size", "max_size_cycle", "sequential"]


class CombinedLoader:
    """Yields `(batch, batch_idx, dataloader_idx)` out of a list, tuple or dict of loaders, nested as you like.

    Args:
        iterables: The loaders; a batch has the same nesting, except in mode `sequential`.
        mode: When it ends, and what a loader gives that ended before: `min_size` ends with the shortest; `max_size`
            ends with the longest, None for others; `max_size_cycle` ends with the longest, others start again;
            `sequential` gives one loader after another, `batch_idx` counting within each.
    """

    def __init__(self, iterables: Any, mode: Mode = "min_size") -> None:
        if mode not in MODES:
            raise ValueError(
                f"`mode` got {mode!r}, which is no way to combine loaders. {did_you_mean(str(mode), MODES)}"
            )
        self.mode = mode
        self._limits: list[float] | None = None
        self._loaded: dict[str, Any] | None = None
        self._current: Current[Combination] = Current()
        self._set(iterables)

    def _set(self, iterables: Any) -> None:
        self._iterables, self._flattened = iterables, list(leaves(iterables))
        for loader in self._flattened:
            if not hasattr(type(loader), "__iter__") and not hasattr(type(loader), "__getitem__"):
                raise TypeError(
                    f"`CombinedLoader` found {loader!r} where a loader belongs. "
                    "Give loaders in a list, tuple or dict; a list of batches is taken for a list of loaders."
                )

    @property
    def iterables(self) -> Any:
        """The loaders as they were given."""
        return self._iterables

    @property
    def flattened(self) -> list[Any]:
        """The loaders in order; set to a list of as many to replace them."""
        return self._flattened

    @flattened.setter
    def flattened(self, loaders: Sequence[Any]) -> None:
        if len(loaders) != len(self._flattened):
            raise ValueError(
                f"`flattened` got {len(loaders)} loaders for {len(self._flattened)}. Give one for each, in order."
            )
        self._set(fill(self._iterables, iter(loaders)))

    @property
    def limits(self) -> list[float] | None:
        """The most batches to take of each loader in one pass; set to a list, a number for all, or None."""
        return self._limits

    @limits.setter
    def limits(self, limits: float | Sequence[float] | None) -> None:
        if limits is not None:
            limits = [limits] * len(self._flattened) if isinstance(limits, (int, float)) else list(limits)
            if len(limits) != len(self._flattened):
                raise ValueError(
                    f"`limits` got {len(limits)} numbers for {len(self._flattened)} loaders. Give one each."
                )
            for limit in limits:
                if limit < 0 or (limit != math.inf and limit != int(limit)):
                    raise ValueError(f"`limits` got {limit!r}, no number of batches. Give 0 or more, or `math.inf`.")
        self._limits = limits

    @property
    def sampler(self) -> Any:
        """The loaders' samplers in the same nesting, None where there is none."""
        return fill(self._iterables, (getattr(x, "sampler", None) for x in self._flattened))

    @property
    def batch_sampler(self) -> Any:
        """The loaders' batch samplers in the same nesting, None where there is none."""
        return fill(self._iterables, (getattr(x, "batch_sampler", None) for x in self._flattened))

    def _most(self) -> list[float]:
        return self._limits or [math.inf] * len(self._flattened)

    def __iter__(self) -> Iterator[tuple[Any, int, int]]:
        loaded, self._loaded = self._loaded, None
        current = MODES[self.mode](self._iterables, self._flattened, self._most(), loaded)
        self._current.set(current)
        return current

    def __len__(self) -> int:
        """The number of batches of a full iteration; TypeError if a loader does not know its own.

        In mode `min_size` one that does not, such as an endless stream, is taken to outlast those that do.
        """
        pairs = list(zip(self._flattened, self._most(), strict=True))
        if self.mode == "min_size":
            pairs = [pair for pair in pairs if pair[1] == 0 or _knows_length(pair[0])] or pairs
        return MODES[self.mode].length([0 if most == 0 else int(min(len(x), most)) for x, most in pairs])

    def reset(self) -> None:
        """End the iteration in progress, forget a loaded position and stop persistent workers."""
        current = self._current.get()
        if current is not None:
            current.close()
        self._loaded = None
        for loader in self._flattened:
            if isinstance(loader, (CombinedLoader, ResumableLoader, TensorLoader)):
                loader.reset()
            elif isinstance(loader, DataLoader):
                loader._iterator = None

    def _generators(self) -> list[torch.Generator]:
        """Those that loaders without a state were given."""
        return [g for x in self._flattened if not isinstance(x, Stateful) for g in own_generators(x)]

    def state_dict(self) -> dict[str, Any]:
        """The position and the states of those loaders that have one; the others are replayed to their position."""
        current = self._current.get()
        position = self._loaded if current is None or current.over else current.position()
        loaders = [x.state_dict() if isinstance(x, Stateful) else None for x in self._flattened]
        generators = [generator.get_state() for generator in self._generators()]
        return {"mode": self.mode, "loaders": loaders, "position": position, "generators": generators}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Let the next iteration give what was still to come."""
        states, mode = state_dict["loaders"], state_dict["mode"]
        if len(states) != len(self._flattened) or mode != self.mode:
            raise ValueError(
                f"The state is of {len(states)} loaders in mode `{mode}`, but there are {len(self._flattened)} in mode "
                f"`{self.mode}`. Combine the loaders as they were when it was saved."
            )
        for loader, state in zip(self._flattened, states, strict=True):
            if state is not None:
                loader.load_state_dict(state)
        for generator, state in zip(self._generators(), state_dict.get("generators", ()), strict=False):
            generator.set_state(state)
        self._current.set(None)
        self._loaded = state_dict["position"]


def _knows_length(loader: Any) -> bool:
    try:
        len(loader)
    except (TypeError, NotImplementedError):
        return False
    return True
