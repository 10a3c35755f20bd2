"""A training that any launcher may start and start again: it goes on from its newest checkpoint, and notes weights.

`restarted_training.py NODES STEP FATE`: at STEP rank 1 kills itself once in the life of the folder, or waits there for
a file; nothing happens if STEP is 0.
"""

import hashlib
import os
import signal
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import lt as L
import torch
from lt.callbacks import ModelCheckpoint
from lt_accel import DDPStrategy
from torch import Tensor, nn
from torch.utils.data import DataLoader

EPOCHS, STEPS = 3, 8


class Net(L.LightningModule):
    def __init__(self, step: int, fate: str) -> None:
        super().__init__()
        self.step, self.fate = step, fate
        self.net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 1))

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        if self.global_step == self.step > 0 and self.global_rank == 1:
            self.meet_fate()
        return self.net(batch).pow(2).mean()

    def meet_fate(self) -> None:
        if self.fate == "kill" and not Path("killed").exists():
            Path("killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fate == "wait":
            Path("waiting-1").touch()
            while not Path("go on").exists():
                time.sleep(0.05)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), 0.05)


def main() -> None:
    nodes, step, fate = sys.argv[1:]
    L.seed_everything(11)
    keep = ModelCheckpoint(dirpath="kept", every_n_train_steps=3, save_top_k=-1)
    options: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    strategy = DDPStrategy(timeout=timedelta(seconds=10))
    began = Began()
    trainer = L.Trainer(
        accelerator="cpu", devices="auto", num_nodes=int(nodes), strategy=strategy, max_epochs=EPOCHS,
        callbacks=[keep, began], **options,
    )  # fmt: skip
    model = Net(int(step), fate)
    data = torch.randn(STEPS * 4, 6, generator=torch.Generator().manual_seed(5))
    loader = DataLoader(data, 4 // trainer.world_size, shuffle=True)
    trainer.fit(model, loader, ckpt_path="auto")
    tensors = [parameter.detach().view(torch.uint8).flatten().tolist() for parameter in model.parameters()]
    weights = hashlib.blake2b(b"".join(map(bytes, tensors))).hexdigest()
    Path(f"weights-{trainer.global_rank}").write_text(f"{weights} {trainer.global_step} {began.step}")


class Began(L.Callback):
    """Notes where this start went on from."""

    step = -1

    def on_train_start(self, trainer: Any, module: Any) -> None:
        self.step = trainer.global_step


if __name__ == "__main__":
    main()
