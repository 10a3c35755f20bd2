"""The steps that are logged, and the one read of the device that they may cost."""

from collections.abc import Mapping

import torch
from lt_interfaces import Trainer
from torch import Tensor


def will_log(trainer: Trainer) -> bool:
    """True before and during an optimizer step that is logged."""
    every = trainer.log_every_n_steps
    return every > 0 and (trainer.global_step + 1) % every == 0


def has_logged(trainer: Trainer) -> bool:
    """True after such a step, until the next one."""
    every = trainer.log_every_n_steps
    return every > 0 and trainer.global_step % every == 0


def as_numbers(values: Mapping[str, Tensor]) -> dict[str, float]:
    """Tensors of one element as numbers, in a single read."""
    if not values:
        return {}
    device = next(iter(values.values())).device
    read = torch.stack([value.detach().reshape(()).to(device, torch.float32) for value in values.values()])
    return dict(zip(values, read.tolist(), strict=True))
