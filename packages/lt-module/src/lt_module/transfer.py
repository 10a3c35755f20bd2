"""A batch on another device, whatever its nesting."""

import copy
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch


def moved(batch: Any, device: torch.device) -> Any:
    """The batch with everything that has a `.to` on `device`; containers are rebuilt, other values kept."""
    if isinstance(batch, torch.Tensor):
        return batch.to(device, non_blocking=device.type == "cuda")
    if hasattr(batch, "to"):
        return batch.to(device)
    if isinstance(batch, Mapping):
        copied: Any = copy.copy(batch)
        for key, value in batch.items():
            copied[key] = moved(value, device)
        return copied
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(moved(value, device) for value in batch))
    if isinstance(batch, list | tuple):
        return type(batch)(moved(value, device) for value in batch)
    if is_dataclass(batch) and not isinstance(batch, type):
        copied = copy.copy(batch)
        for field in fields(batch):
            object.__setattr__(copied, field.name, moved(getattr(batch, field.name), device))
        return copied
    return batch
