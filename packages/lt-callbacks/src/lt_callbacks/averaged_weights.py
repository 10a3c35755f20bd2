"""Averages of a module's weights, kept beside it, and put in its place for a while."""

from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import Any

import torch
from lt_interfaces import Trainer
from torch import Tensor, nn
from torch.optim.swa_utils import get_swa_multi_avg_fn

Average = Callable[[Any, Any, Any], Any]


def epoch_is_whole(trainer: Trainer) -> bool:
    """False at the end of an epoch that a limit cut short: it goes on after a restart and ends once more."""
    batches = trainer.num_training_batches
    return batches == float("inf") or trainer.progress.batch >= batches


def restore_live(module: nn.Module, checkpoint: dict[str, Any]) -> None:
    """Continue with the weights in training, whether `state_dict` is loaded before this or after."""
    checkpoint["state_dict"] = checkpoint["current_model_state"]
    module.load_state_dict(checkpoint["state_dict"], strict=False)


def is_live(checkpoint: Mapping[str, Any]) -> bool:
    """True once `restore_live` was here: several callbacks, or several calls, find the same checkpoint."""
    return checkpoint.get("current_model_state") is checkpoint["state_dict"]


class AveragedWeights:
    """The running average of the parameters and, with `use_buffers`, of the buffers; otherwise those are copied.

    Numbers that are not floating are copied as well. Averages of half precision are kept in float32, where small
    changes do not round away. `multi_avg_fn` and `avg_fn` are as in `torch.optim.swa_utils`; by default all weights
    count alike.
    """

    def __init__(
        self,
        device: Any = None,
        use_buffers: bool = True,
        avg_fn: Average | None = None,
        multi_avg_fn: Average | None = None,
    ) -> None:
        self.device = device
        self.use_buffers = use_buffers
        self.avg_fn = avg_fn
        self.multi_avg_fn = multi_avg_fn or (get_swa_multi_avg_fn() if avg_fn is None else None)  # type: ignore[no-untyped-call]
        self.n_averaged = 0
        self.tensors: dict[str, Tensor] = {}
        self.live: dict[str, Tensor] = {}
        """The module's own weights while the averages are in their place."""

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Take the module's weights into the average."""
        averages, weights = [], []
        buffers = {name for name, _ in module.named_buffers()}
        for name, tensor in _tensors(module):
            mine = self.tensors.get(name)
            if mine is None or self.n_averaged == 0:
                self.tensors[name] = tensor.detach().to(self.device or tensor.device, _wide(tensor), copy=True)
            elif not tensor.is_floating_point() or (name in buffers and not self.use_buffers):
                mine.copy_(tensor)
            else:
                mine = self.tensors[name] = mine.to(self.device or tensor.device)
                averages.append(mine)
                weights.append(tensor.detach().to(mine))
        if averages and self.multi_avg_fn is not None:
            self.multi_avg_fn(averages, weights, self.n_averaged)
        elif self.avg_fn is not None:
            for mine, tensor in zip(averages, weights, strict=True):
                mine.copy_(self.avg_fn(mine, tensor, torch.tensor(self.n_averaged, device=mine.device)))
        self.n_averaged += 1

    @torch.no_grad()
    def put_in(self, module: nn.Module) -> None:
        """Give the module the averages; its own weights wait. Without an average nothing happens."""
        if self.n_averaged and not self.live:
            self.live = {name: tensor.detach().clone() for name, tensor in _tensors(module)}
            _copy(self.tensors, module)

    @torch.no_grad()
    def take_out(self, module: nn.Module) -> None:
        """Give the module its own weights back."""
        _copy(self.live, module)
        self.live = {}

    def load(self, tensors: Mapping[str, Tensor], n_averaged: int) -> None:
        """Continue from saved averages."""
        self.tensors = {name: tensor.clone() for name, tensor in tensors.items()} if n_averaged else {}
        self.n_averaged, self.live = n_averaged, {}

    def averaged_state(self, module: nn.Module, state: Mapping[str, Any]) -> dict[str, Any]:
        """A module's `state_dict` with the averages in it, and whatever else it holds."""
        return _replaced(module, state, self.tensors)

    def live_state(self, module: nn.Module, state: Mapping[str, Any]) -> dict[str, Any]:
        """A module's `state_dict` with its own weights, wherever they are."""
        return _replaced(module, state, self.live)


def _tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    return chain(module.named_parameters(), module.named_buffers())


def _wide(tensor: Tensor) -> torch.dtype:
    return torch.float32 if tensor.dtype in (torch.float16, torch.bfloat16) else tensor.dtype


def _copy(tensors: Mapping[str, Tensor], module: nn.Module) -> None:
    for name, tensor in _tensors(module):
        if name in tensors:
            tensor.copy_(tensors[name])


def _replaced(module: nn.Module, state: Mapping[str, Any], by: Mapping[str, Tensor]) -> dict[str, Any]:
    """Tied weights have several names, of which averages know the first."""
    first: dict[int, str] = {}
    every = chain(module.named_parameters(remove_duplicate=False), module.named_buffers(remove_duplicate=False))
    known = {name: first.setdefault(id(tensor), name) for name, tensor in every}
    return {name: by.get(known.get(name, name), value) for name, value in state.items()}
