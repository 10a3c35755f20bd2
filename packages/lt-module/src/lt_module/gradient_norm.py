"""Norms of gradients, ready for `self.log_dict`."""

import torch
from torch import nn


def grad_norm(module: nn.Module, norm_type: float | int | str, group_separator: str = "/") -> dict[str, torch.Tensor]:
    """The norm of each parameter's gradient and of all together; empty if there are no gradients.

    Keys are `grad_2.0_norm/weight` and `grad_2.0_norm_total`. The values stay on their device.
    """
    p = float(norm_type)
    if not p > 0:
        raise ValueError(
            f"`norm_type` must be above 0, got {norm_type!r}. Use 2 for the usual norm, 'inf' for the largest."
        )
    norms = {
        f"grad_{p}_norm{group_separator}{name}": torch.linalg.vector_norm(parameter.grad.detach(), p)
        for name, parameter in module.named_parameters()
        if parameter.grad is not None
    }
    if norms:
        device = next(iter(norms.values())).device
        norms[f"grad_{p}_norm_total"] = torch.linalg.vector_norm(torch.stack([n.to(device) for n in norms.values()]), p)
    return norms
