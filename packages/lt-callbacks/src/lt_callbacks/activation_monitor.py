"""Records what layers put out."""

from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from lt_interfaces import Callback, MisconfigurationException, Trainer, did_you_mean
from torch import Tensor, nn

from lt_callbacks.log_steps import as_numbers, has_logged, will_log


class ActivationMonitor(Callback):
    """Logs mean, standard deviation, norm, largest magnitude and share of zeros of the outputs of layers.

    `layers` are names of submodules; by default all that have no submodules themselves. Keys are
    `activations/<layer>/mean` and so on. Hooks are there in the steps that are logged and in no other; a layer that
    runs several times in a step tells of the last. Inside `torch.compile` hooks do not run.
    """

    device_reads = 0

    def __init__(self, layers: Iterable[str] | None = None) -> None:
        self.layers = None if layers is None else list(layers)
        self._chosen: dict[str, nn.Module] = {}
        self._handles: list[Any] = []
        self._seen: dict[str, Tensor] = {}

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        modules = dict(pl_module.named_modules())
        for name in self.layers or ():
            if name not in modules:
                raise MisconfigurationException(
                    f"`ActivationMonitor` got `{name}`, which is no submodule. {did_you_mean(name, modules)}"
                )
        leaves = [name for name, module in modules.items() if not any(module.children())]
        self._chosen = {name: modules[name] for name in (leaves if self.layers is None else self.layers)}

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if will_log(trainer) and not self._handles:
            self._handles = [m.register_forward_hook(partial(self._look, name)) for name, m in self._chosen.items()]

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self._handles:
            self._let_go()
            if has_logged(trainer):
                self.device_reads += 1
                trainer.log_metrics(as_numbers(self._seen))
            self._seen = {}

    def teardown(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        self._let_go()

    def _let_go(self) -> None:
        while self._handles:
            self._handles.pop().remove()

    def _look(self, layer: str, module: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.is_floating_point() and output.numel():
            self._seen |= {f"activations/{layer}/{name}": value for name, value in statistics(output).items()}


@torch.no_grad()
def statistics(activations: Tensor) -> dict[str, Tensor]:
    """What is logged of one tensor, on its device."""
    x = activations.detach().float()
    std, mean = torch.std_mean(x, correction=0)
    norm = torch.linalg.vector_norm(x)
    return {"mean": mean, "std": std, "norm": norm, "max": x.abs().amax(), "zeros": (x == 0).float().mean()}
