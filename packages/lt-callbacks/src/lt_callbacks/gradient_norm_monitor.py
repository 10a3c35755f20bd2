"""Records how large gradients are, layer by layer."""

from typing import Any

import torch
from lt_interfaces import Callback, Trainer
from torch import Tensor

from lt_callbacks.log_steps import as_numbers, has_logged, will_log


class GradientNormMonitor(Callback):
    """Logs the norm of all gradients before they are clipped, and with `per_layer` that of each layer.

    Keys are `grad_2.0_norm_total` and `grad_2.0_norm/<layer>`. Measured in the steps that are logged and in no other.
    """

    device_reads = 0

    def __init__(self, norm_type: float | str = 2, per_layer: bool = True) -> None:
        self.norm_type = float(norm_type)
        if not self.norm_type > 0:
            raise ValueError(f"`norm_type` must be above 0, got {norm_type!r}. Use 2, or 'inf' for the largest value.")
        self.per_layer = per_layer
        self._norms: dict[str, Tensor] = {}

    def measure(self, module: Any, optimizer: Any = None) -> dict[str, Tensor]:
        """The norm of each layer's gradients, on the device; of the optimizer's parameters alone if one is given."""
        own = None if optimizer is None else {id(p) for group in optimizer.param_groups for p in group["params"]}
        layers: dict[str, list[Tensor]] = {}
        for name, parameter in module.named_parameters():
            if parameter.grad is not None and (own is None or id(parameter) in own):
                layers.setdefault(name.rpartition(".")[0] or name, []).append(parameter.grad)
        return {layer: total_norm(gradients, self.norm_type) for layer, gradients in layers.items()}

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: Any, optimizer: Any) -> None:
        if will_log(trainer):
            self._norms.update(self.measure(pl_module, optimizer))

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self._norms and has_logged(trainer):
            norms, self._norms = self._norms, {}
            prefix = f"grad_{self.norm_type}_norm"
            record = {f"{prefix}_total": total_norm(list(norms.values()), self.norm_type)}
            if self.per_layer:
                record |= {f"{prefix}/{layer}": norm for layer, norm in norms.items()}
            self.device_reads += 1
            trainer.log_metrics(as_numbers(record))


def total_norm(tensors: list[Tensor], norm_type: float) -> Tensor:
    """The norm of all tensors together, as one number on the device; of sharded ones that of the whole."""
    norm = torch.nn.utils.get_total_norm(tensors, norm_type)
    return norm.full_tensor() if hasattr(norm, "full_tensor") else norm
