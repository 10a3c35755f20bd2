"""A module from a checkpoint: built from the hyperparameters in it, filled with the weights in it.

The class comes from the caller and the file brings values only; no name in a file is ever imported.
"""

from collections.abc import Mapping
from os import PathLike
from typing import Any, TypeVar

import torch
from lt_checkpoint import load
from lt_checkpoint.weights import Strictness, load_weights
from lt_interfaces import CheckpointError, rank_zero_info

from lt_module.hparams_file import read_hparams_file
from lt_module.init_arguments import instantiate

M = TypeVar("M", bound=Any)

# The oldest of Lightning's names first, so that newer ones win.
_HPARAMS_KEYS = ("module_arguments", "hparams", "hyper_parameters")


def restore(
    cls: type[M],
    path: str | PathLike[str],
    map_location: Any,
    hparams_file: str | PathLike[str] | None,
    strict: Strictness | None,
    overrides: Mapping[str, Any],
) -> M:
    """A new `cls` with the hyperparameters and the weights of a checkpoint; see `load_from_checkpoint`."""
    checkpoint = load(path, map_location=_where_saved if map_location is None else map_location)
    if not isinstance(checkpoint.get("state_dict"), dict):
        raise CheckpointError(
            f"{str(path)!r} holds no `state_dict`, so it is not the checkpoint of a module. "
            "For a file of bare weights, build the module and call `load_state_dict`."
        )
    saved: dict[str, Any] = {}
    for key in _HPARAMS_KEYS:
        saved.update(checkpoint.get(key) or {})
    if hparams_file is not None:
        saved = read_hparams_file(hparams_file)
    module: M = instantiate(cls, saved, checkpoint.get("hparams_name"), overrides)
    module.configure_model()
    module.on_load_checkpoint(checkpoint)
    left_out = load_weights(module, checkpoint["state_dict"], _strictness(module, strict), f"`{path}`")
    if left_out:
        rank_zero_info(left_out)
    tensors = (value for value in checkpoint["state_dict"].values() if isinstance(value, torch.Tensor))
    first = next(tensors, None)
    if first is not None:
        module.to(first.device)
    return module


def _where_saved(storage: Any, location: str) -> Any:
    """The device that a storage was saved from where this machine has it, else the CPU."""
    try:
        return torch.serialization.default_restore_location(storage, location)  # type: ignore[no-untyped-call,unused-ignore]
    except RuntimeError:
        return storage


def _strictness(module: Any, strict: Strictness | None) -> Strictness:
    own = module._strict_loading
    if strict is not None and own is not None and strict != own:
        raise ValueError(
            f"`strict={strict!r}` contradicts `{type(module).__name__}.strict_loading`, which is {own!r}. Set only one."
        )
    return next((choice for choice in (strict, own) if choice is not None), True)
