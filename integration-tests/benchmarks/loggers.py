"""What each logger costs a training step that logs one number, a record each step, and with a back-end of 100 ms."""

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from typing import Any

import torch
from lt.loggers import CometLogger, CSVLogger, HTMLLogger, MLFlowLogger, RemoteLogger, TensorBoardLogger, WandbLogger
from measuring.frameworks import FILES, LT, quiet
from measuring.report import figure, options, print_table, spread
from torch.nn.functional import mse_loss

NOTHING = "no logger"
BACK_END_SECONDS = 0.1


class Slow(RemoteLogger):
    """Each call takes 100 ms, in the thread of its own that every logger to a server has."""

    def connect(self) -> Any:
        return self

    def send(self, experiment: Any, records: Sequence[Any]) -> None:
        time.sleep(BACK_END_SECONDS)

    def send_hyperparams(self, experiment: Any, params: Any) -> None:
        time.sleep(BACK_END_SECONDS)


class Waits(CSVLogger):
    """Each call takes 100 ms, and training waits for it."""

    def log_metrics(self, metrics: Any, step: Any = None) -> None:
        time.sleep(BACK_END_SECONDS)


class Laps:
    """Batches in laps; notes at the start of each the time, since waiting counts here, and the thread's CPU time."""

    def __init__(self, batches: Sequence[Any], size: int, laps: int = 8) -> None:
        self.batches, self.size, self.laps = batches, size, laps
        self.clock: list[tuple[float, float]] = []

    def __len__(self) -> int:
        return self.size * self.laps + 1

    def __iter__(self) -> Iterator[Any]:
        for i in range(len(self)):
            if i % self.size == 0:
                self.clock.append((time.perf_counter(), time.thread_time()))
            yield self.batches[i % len(self.batches)]

    def microseconds(self, clock: int) -> float:
        """A step's time on one of the clocks, in the lower quartile of the laps but the first, which opens files."""
        laps = sorted(end[clock] - start[clock] for start, end in zip(self.clock[1:], self.clock[2:], strict=False))
        return laps[len(laps) // 4] / self.size * 1e6


class Tiny(LT.module):
    def __init__(self) -> None:
        super().__init__()
        self.model = torch.nn.Linear(32, 2)

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=1e-3)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        x, y = batch
        loss = mse_loss(self.model(x), y)
        self.log("loss", loss)
        return loss


def kinds() -> dict[str, Callable[[str], Any]]:
    """The loggers that can be used here, each made for a folder."""
    found: dict[str, Callable[[str], Any]] = {
        NOTHING: lambda folder: False,
        "CSVLogger": CSVLogger,
        "HTMLLogger": HTMLLogger,
        "TensorBoardLogger": TensorBoardLogger,
        "100 ms per call, RemoteLogger": Slow,
        "100 ms per call, in the step": Waits,
    }
    if find_spec("wandb"):
        found["WandbLogger, offline"] = lambda folder: WandbLogger(save_dir=folder, offline=True)
    if find_spec("mlflow") and find_spec("sqlalchemy"):
        store = tempfile.mkdtemp(dir=FILES.name)
        found["MLFlowLogger, SQLite"] = lambda folder: MLFlowLogger(save_dir=store)
    if find_spec("comet_ml"):
        off = {"log_code": False, "log_env_details": False, "auto_output_logging": False}
        found["CometLogger, offline"] = lambda folder: CometLogger(online=False, offline_directory=folder, **off)
    return found


def fit(make: Callable[[str], Any], laps: Laps) -> tuple[float, float]:
    trainer = LT.lean()
    trainer.log_every_n_steps = 1
    logger = make(tempfile.mkdtemp(dir=FILES.name))
    trainer.loggers = [logger] if logger else []
    torch.manual_seed(0)
    trainer.fit(Tiny(), laps)
    return laps.microseconds(0), laps.microseconds(1)


def main() -> None:
    given = options(__doc__, repeats=5)
    quiet()
    os.environ.update(WANDB_SILENT="true", COMET_LOGGING_CONSOLE="ERROR", WANDB_CONSOLE="off")
    torch.manual_seed(0)
    batches = [(torch.randn(64, 32), torch.randn(64, 2)) for _ in range(64)]
    makers = kinds()
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in makers}
    for _ in range(given.repeats):
        for name, make in makers.items():
            found[name].append(fit(make, Laps(batches, 1 if make is Waits else 200)))
    rows = []
    for name, values in found.items():
        added = [[mine[i] - base[i] for mine, base in zip(values, found[NOTHING], strict=True)] for i in (0, 1)]
        more = ["", ""] if name == NOTHING else [spread(added[0]), spread(added[1])]
        rows.append([name, figure([mine[0] for mine in values]), *more])
    head = ["logger", "microseconds", "more than without", "CPU of the training thread"]
    print_table("A training step that sends a record", head, rows)


if __name__ == "__main__":
    main()
