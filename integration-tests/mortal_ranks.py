"""A training on two ranks of which one ends in a chosen way at a chosen place, under each launcher; and what is left.

Run as a script, this file is that training: `mortal_ranks.py LAUNCHER KIND PLACE RANK`.
"""

import os
import signal
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lt as L
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

LAUNCHERS = ("script", "spawn", "torchrun")
KINDS = ("raise", "exit", "kill")
PLACES = ("step", "validation", "save", "barrier")
MARK = "LT_TEST_GROUP"
_STEP = 3


@dataclass
class Fate:
    """Where which rank ends, and how."""

    kind: str
    place: str
    rank: int

    def meet(self, place: str, rank: int) -> None:
        """End here if it is so."""
        if (place, rank) != (self.place, self.rank):
            return
        Path("died").write_text(str(time.monotonic()))
        if self.kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.kind == "exit":
            os._exit(3)
        raise ValueError("the cause")


class Mortal(L.LightningModule):
    def __init__(self, fate: Fate) -> None:
        super().__init__()
        self.fate = fate
        self.layer = nn.Linear(2, 1)

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        if self.global_step == _STEP:
            self.fate.meet("step", self.global_rank)
        return self.layer(batch).pow(2).mean()

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.fate.meet("validation", self.global_rank)
        self.log("val_loss", self.layer(batch).pow(2).mean(), sync_dist=True)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.fate.meet("save", self.global_rank)

    def on_train_epoch_end(self) -> None:
        self.fate.meet("barrier", self.global_rank)
        self.trainer.strategy.barrier()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def train(fate: Fate) -> None:
    trainer = L.Trainer(
        accelerator="cpu", devices=2, strategy="ddp", max_epochs=1000, num_sanity_val_steps=0, logger=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(Mortal(fate), *(DataLoader(torch.randn(16, 2), 2, num_workers=1) for _ in range(2)))


def train_by_hand(fabric: L.Fabric, fate: Fate) -> None:
    """The same as a loop of one's own."""
    layer = nn.Linear(2, 1)
    model, optimizer = fabric.setup(layer, torch.optim.SGD(layer.parameters(), 0.1))
    loader = fabric.setup_dataloaders(DataLoader(torch.randn(16, 2), 2))
    for _ in range(1000):
        for i, batch in enumerate(loader):
            if i == _STEP:
                fate.meet("step", fabric.global_rank)
            fabric.backward(model(batch).pow(2).mean())
            optimizer.step()
        fate.meet("validation", fabric.global_rank)
        with torch.no_grad():
            fabric.all_gather(model(batch))
        fate.meet("save", fabric.global_rank)
        fabric.save("last.ckpt", {"model": model})
        fate.meet("barrier", fabric.global_rank)
        fabric.barrier()


@dataclass
class Death:
    """What is seen from outside."""

    status: int
    words: str
    seconds: float
    """From the rank's end to that of the last process of the group."""
    orphans: list[int]


def die(folder: Path, launcher: str, kind: str, place: str, rank: int = 1, patience: float = 60) -> Death:
    """Run it in a folder. Processes that outlive the first one by `patience` seconds are orphans, and are killed."""
    torchrun = (
        ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"] if launcher == "torchrun" else []
    )
    mark = uuid.uuid4().hex
    with open(folder / "words", "w") as words:
        process = subprocess.Popen(
            [sys.executable, *torchrun, __file__, launcher, kind, place, str(rank)],
            cwd=folder, env={**os.environ, MARK: mark}, stdout=words, stderr=words,
        )  # fmt: skip
    try:
        status = process.wait(timeout=120 + patience)
        deadline = time.monotonic() + patience
        while left(mark) and time.monotonic() < deadline:
            time.sleep(0.02)
        ended, said = time.monotonic(), (folder / "words").read_text()
        assert (folder / "died").exists(), f"No rank came to where it was to end:\n{said}"
        return Death(status, said, ended - float((folder / "died").read_text()), left(mark))
    finally:
        for pid in {*left(mark), process.pid} if process.poll() is None else left(mark):
            os.kill(pid, signal.SIGKILL)


def left(mark: str) -> list[int]:
    """The living processes of a group, by what they inherited."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={mark}".encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def main() -> None:
    launcher, kind, place, rank = sys.argv[1:]
    fate = Fate(kind, place, int(rank))
    if launcher == "spawn":
        L.Fabric(accelerator="cpu", devices=2, strategy="ddp_spawn").launch(train_by_hand, fate)
    else:
        train(fate)


if __name__ == "__main__":
    main()
