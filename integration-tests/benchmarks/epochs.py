"""What an epoch costs beside the same epoch in a hand-written loop: a 784-64-3-64-784 autoencoder, Adam, batches of 64.

All read the images through torch's `DataLoader`, except where the table says `TensorLoader`. `--beside lightning` adds
rows.
"""

from collections.abc import Callable
from functools import partial
from statistics import median
from time import process_time
from typing import Any

import torch
from lt_data import TensorLoader
from measuring.frameworks import LT, Framework, beside, quiet
from measuring.report import options, print_table
from measuring.terminal import terminal
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

EPOCHS = 6


class Epochs:
    """A loader that notes the CPU time whenever an epoch starts."""

    def __init__(self, loader: Any) -> None:
        self.loader = loader
        self.clock: list[float] = []

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Any:
        self.clock.append(process_time())
        return iter(self.loader)

    def milliseconds(self) -> float:
        """The quickest of the epochs after the first."""
        return min(end - start for start, end in zip(self.clock[1:], self.clock[2:], strict=False)) * 1e3


def model_and_optimizer() -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 3))
    decoder = nn.Sequential(nn.Linear(3, 64), nn.ReLU(), nn.Linear(64, 784))
    model = nn.Sequential(nn.Flatten(), encoder, decoder)
    return model, torch.optim.Adam(model.parameters(), lr=1e-3)


def error(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    return nn.functional.mse_loss(model(images), images.flatten(1))


def by_hand(loader: Any) -> None:
    model, optimizer = model_and_optimizer()
    for _ in range(EPOCHS):
        for images, _labels in loader:
            loss = error(model, images)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def module(base: Any, logs: bool) -> Any:
    class Autoencoder(base):
        def __init__(self) -> None:
            super().__init__()
            self.model, self.optimizer = model_and_optimizer()

        def configure_optimizers(self) -> Any:
            return self.optimizer

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            loss = error(self.model, batch[0])
            if logs:
                self.log("loss", loss, prog_bar=True)
            return loss

    return Autoencoder()


def lean(framework: Framework, loader: Any) -> None:
    framework.lean(EPOCHS).fit(module(framework.module, False), loader)


def as_used(framework: Framework, loader: Any, **others: Any) -> None:
    with terminal():
        framework.as_used(EPOCHS, **others).fit(module(framework.module, True), loader)


def tensors(samples: int = 6400) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.randn(samples, 1, 28, 28), torch.randint(0, 10, (samples,))


def main() -> None:
    given = options(__doc__, repeats=7)
    quiet()
    data = tensors()
    usual: Callable[[], Any] = partial(DataLoader, TensorDataset(*data), batch_size=64, shuffle=True)
    quick: Callable[[], Any] = partial(TensorLoader, *data, batch_size=64, shuffle=True)
    runs: dict[str, tuple[Callable[..., Any], Callable[[], Any]]] = {"by hand": (by_hand, usual)}
    for framework in [LT, *beside(given.beside)]:
        runs[f"{framework.name}, lean"] = (partial(lean, framework), usual)
        runs[f"{framework.name}, as used, no checkpoints"] = (
            partial(as_used, framework, enable_checkpointing=False),
            usual,
        )
        runs[f"{framework.name}, as used"] = (partial(as_used, framework), usual)
    runs["by hand, `TensorLoader`"] = (by_hand, quick)
    runs["lt, lean, `TensorLoader`"] = (partial(lean, LT), quick)
    runs["lt, as used, `TensorLoader`"] = (partial(as_used, LT), quick)
    found: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(given.repeats):
        for name, (run, make) in runs.items():
            loader = Epochs(make())
            run(loader)
            found[name].append(loader.milliseconds())
    rows = [[name, f"{median(values):.0f}", ratio(values, found["by hand"])] for name, values in found.items()]
    print_table(
        "An epoch of 100 steps; as used, a checkpoint of 1.2 MB at its end",
        ["CPU time", "milliseconds", "beside the loop by hand (middle half)"],
        rows,
    )


def ratio(values: list[float], base: list[float]) -> str:
    ratios = sorted(a / b for a, b in zip(values, base, strict=True))
    n = len(ratios)
    return f"{median(ratios):.3f}x ({ratios[n // 4]:.3f} to {ratios[-1 - n // 4]:.3f})"


if __name__ == "__main__":
    main()
