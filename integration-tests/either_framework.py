"""One training under lt and under Lightning, to be killed and resumed: the same lines but for the import."""

import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import lt_checkpoint
import torch
import torch.nn.functional as F
from lt.testing.campaign import Trial, note, noted, plain
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "shuffle, dropout": {},
    "shuffle": {"dropout": 0.0},
    "shuffle, dropout, by epoch": {"when": {"every_n_epochs": 1}},
    "nothing random": {"dropout": 0.0, "shuffle": False},
}


def trials(framework: str) -> list[Trial]:
    """The configurations for "lt" or "lightning"."""
    L = import_module(framework)
    callbacks = import_module("lt.callbacks" if framework == "lt" else "lightning.pytorch.callbacks")
    verify = lt_checkpoint.verify if framework == "lt" else readable
    return [Trial(name, program(L, callbacks, **options), outcome, verify) for name, options in CONFIGURATIONS.items()]


def readable(path: Path) -> None:
    torch.load(path, map_location="cpu", weights_only=True)


def program(
    L: Any, callbacks: Any, dropout: float = 0.3, shuffle: bool = True, when: Any = None
) -> Callable[[Path], None]:
    """Train 33 steps in a folder, from its `last` checkpoint if there is one."""

    class Net(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 3))

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            note(Path(self.trainer.default_root_dir), "batch", self.current_epoch, batch_idx, batch[0].tolist())
            return F.cross_entropy(self.net(batch[1]), batch[2])

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.AdamW(self.parameters(), 0.02)
            return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.9)]

    class Noting(L.Trainer):
        def save_checkpoint(self, filepath: Any, *args: Any, **kwargs: Any) -> None:
            note(Path(self.default_root_dir), "saving", self.global_step)
            super().save_checkpoint(filepath, *args, **kwargs)
            note(Path(self.default_root_dir), "saved", self.global_step)

    class Start(L.Callback):
        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            note(Path(trainer.default_root_dir), "training from", trainer.global_step)

    def run(folder: Path) -> None:
        warnings.simplefilter("ignore")
        L.seed_everything(2, verbose=False)
        x = torch.randn(44, 6, generator=torch.Generator().manual_seed(5))
        data = TensorDataset(torch.arange(44), x, x.sum(1).abs().long() % 3)
        keep = callbacks.ModelCheckpoint(folder, save_last=True, **(when or {"every_n_train_steps": 2}))
        trainer = Noting(
            max_epochs=3, accelerator="cpu", devices=1, default_root_dir=folder, callbacks=[Start(), keep],
            logger=False, enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip
        model = Net()
        trainer.fit(model, DataLoader(data, 4, shuffle=shuffle), ckpt_path="last")
        optimizers = [o.state_dict() for o in trainer.optimizers]
        torch.save(plain({"weights": model.state_dict(), "optimizers": optimizers}), folder / "outcome.pt")

    return run


def outcome(folder: Path) -> dict[str, Any]:
    """The samples in the order in which they counted, and the state at the end."""
    order = {(epoch, index): ids for _, _, epoch, index, ids in noted(folder, "batch")}
    left: dict[str, Any] = torch.load(folder / "outcome.pt")
    return left | {"order": order}
