"""What a step costs above the same step in a hand-written loop: `nn.Linear(32, 2)`, SGD, batches of 64.

The step itself takes about 0.1 ms, so that next to nothing hides the loop around it. `--beside lightning` adds a
column.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from measuring.frameworks import LT, Framework, beside, quiet
from measuring.laps import Loop, above, interleaved
from measuring.report import figure, options, print_table, spread
from measuring.terminal import terminal
from torch.nn.functional import mse_loss

MANY = 20
BY_HAND = "by hand"


def model_and_optimizer() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = torch.nn.Linear(32, 2)
    return model, torch.optim.SGD(model.parameters(), lr=1e-3)


def module(base: Any, logged: int) -> Any:
    """The model as a module that logs so many metrics per step, the first of them for the bar."""
    names = [f"loss_{i}" for i in range(logged)]

    class Tiny(base):
        def __init__(self) -> None:
            super().__init__()
            self.model, self.optimizer = model_and_optimizer()

        def configure_optimizers(self) -> Any:
            return self.optimizer

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            x, y = batch
            loss = mse_loss(self.model(x), y)
            for name in names:
                self.log(name, loss, prog_bar=name == "loss_0")
            return loss

        def validation_step(self, batch: Any, batch_idx: int) -> Any:
            x, y = batch
            loss = mse_loss(self.model(x), y)
            for name in names:
                self.log(name, loss, prog_bar=name == "loss_0")
            return loss

        def predict_step(self, batch: Any, batch_idx: int) -> Any:
            return self.model(batch[0])

    return Tiny()


def train_by_hand(batches: Any) -> None:
    model, optimizer = model_and_optimizer()
    for x, y in batches:
        loss = mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def validate_by_hand(batches: Any) -> None:
    model, _ = model_and_optimizer()
    model.eval()
    total = torch.zeros(())
    with torch.inference_mode():
        for x, y in batches:
            total += mse_loss(model(x), y)


def predict_by_hand(batches: Any) -> list[Any]:
    model, _ = model_and_optimizer()
    model.eval()
    with torch.inference_mode():
        return [model(x) for x, _ in batches]


def train_with_fabric(framework: Framework, batches: Any) -> None:
    fabric = framework.fabric()
    model, optimizer = fabric.setup(*model_and_optimizer())
    for x, y in batches:
        loss = mse_loss(model(x), y)
        optimizer.zero_grad()
        fabric.backward(loss)
        optimizer.step()


def fit(framework: Framework, batches: Any) -> None:
    framework.lean().fit(module(framework.module, 0), batches)


def fit_as_used(framework: Framework, batches: Any, logged: int) -> None:
    with terminal():
        framework.as_used().fit(module(framework.module, logged), batches)


def validate(framework: Framework, batches: Any) -> None:
    framework.lean().validate(module(framework.module, 0), batches, verbose=False)


def validate_as_used(framework: Framework, batches: Any) -> None:
    with terminal():
        framework.as_used().validate(module(framework.module, 1), batches, verbose=False)


def predict(framework: Framework, batches: Any) -> None:
    framework.lean().predict(module(framework.module, 0), batches)


@dataclass(frozen=True)
class Row:
    """A loop of a framework, and the loop that its time is compared with: `per` times the cost that the row tells."""

    name: str
    run: Callable[..., Any]
    beside: str = BY_HAND
    per: int = 1


SECTIONS = {
    train_by_hand: [
        Row("training step, lean", fit),
        Row("training step, as used", partial(fit_as_used, logged=1)),
        Row("each further `self.log`", partial(fit_as_used, logged=1 + MANY), "training step, as used", MANY),
        Row("loop by hand with Fabric", train_with_fabric),
    ],
    validate_by_hand: [
        Row("validation step, lean", validate),
        Row("validation step, one metric and bar", validate_as_used),
    ],
    predict_by_hand: [Row("predict step, outputs kept", predict)],
}


def measured(by_hand: Loop, rows: list[Row], frameworks: list[Framework], repeats: int) -> list[list[str]]:
    """The lines of one section."""
    torch.manual_seed(0)
    batches = [(torch.randn(64, 32), torch.randn(64, 2)) for _ in range(64)]
    lines = [[row.name, ""] for row in rows]
    for framework in frameworks:
        loops = {BY_HAND: by_hand, **{row.name: partial(row.run, framework) for row in rows}}
        others = {} if framework is LT else dict.fromkeys((row.name for row in rows), 20)
        found = interleaved(loops, batches, repeats, others)
        for row, line in zip(rows, lines, strict=True):
            if row.beside == BY_HAND and not line[1]:
                line[1] = figure(found[BY_HAND])
            line.append(spread(above(found, row.name, row.beside, row.per), 1 if row.per == 1 else 2))
    return lines


def main() -> None:
    given = options(__doc__, repeats=15)
    quiet()
    frameworks = [LT, *beside(given.beside)]
    lines = [line for by_hand, rows in SECTIONS.items() for line in measured(by_hand, rows, frameworks, given.repeats)]
    head = ["microseconds of CPU time", "by hand", *(f"{f.name}, above that" for f in frameworks)]
    print_table("Cost of a step, median (middle half of the repeats)", head, lines)


if __name__ == "__main__":
    main()
