"""What logging costs a training step, and how often it reads a number from the device: 200 steps, a record each 50."""

from functools import partial
from typing import Any

import torch
from measuring.frameworks import LT, quiet
from measuring.laps import above, interleaved
from measuring.report import figure, options, print_table, spread
from measuring.terminal import terminal
from torch.nn.functional import mse_loss
from torch.utils._python_dispatch import TorchDispatchMode

STEPS = 200
READING = {torch.ops.aten._local_scalar_dense.default, torch.ops.aten.item.default}
NOTHING = "nothing logged"
KINDS: dict[str, tuple[int, dict[str, Any], int]] = {
    NOTHING: (0, {}, 50),
    "1 metric": (1, {}, 50),
    "20 metrics": (20, {}, 50),
    "20 metrics, all in the bar": (20, {"prog_bar": True}, 50),
    "20 metrics, by epoch": (20, {"on_step": False, "on_epoch": True}, 50),
    "20 metrics, by step and epoch": (20, {"on_step": True, "on_epoch": True}, 50),
    "20 metrics, a record each step": (20, {}, 1),
}


class Reads(TorchDispatchMode):
    """Counts the numbers read out of tensors; each would wait for a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func in READING
        return func(*args, **(kwargs or {}))


def fit(kind: str, batches: Any) -> None:
    number, how, every = KINDS[kind]
    names = [f"metric_{i}" for i in range(number)]

    class Tiny(LT.module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.model = torch.nn.Linear(32, 2)

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=1e-3)

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            x, y = batch
            loss = mse_loss(self.model(x), y)
            for name in names:
                self.log(name, loss, **how)
            return loss

    with terminal():
        trainer = LT.as_used()
        trainer.log_every_n_steps = every
        trainer.fit(Tiny(), batches)


def reads(kind: str, batches: list[Any]) -> int:
    with Reads() as counted:
        fit(kind, batches)
    return counted.count


def main() -> None:
    given = options(__doc__, repeats=9)
    quiet()
    torch.manual_seed(0)
    batches = [(torch.randn(64, 32), torch.randn(64, 2)) for _ in range(64)]
    found = interleaved({kind: partial(fit, kind) for kind in KINDS}, batches, given.repeats, {})
    rows = []
    for kind, (number, _, every) in KINDS.items():
        added = above(found, kind, NOTHING)
        each = figure([value / number for value in added], 2) if number else ""
        read = reads(kind, [batches[i % 64] for i in range(STEPS)])
        rows.append([kind, spread(added), each, str(STEPS // every if number else 0), str(read)])
    head = ["a step", "microseconds of CPU time", "for each metric", "records", "numbers read"]
    print_table(f"Logging in {STEPS} training steps with logger, bar and checkpoints", head, rows)


if __name__ == "__main__":
    main()
