"""The configurations that are killed and resumed: a little of everything that has a state."""

import csv
import hashlib
import random
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lt as L
import torch
import torch._dynamo  # the first optimizer imports it, which takes each child longer than its training
import torch.nn.functional as F
from lt.callbacks import EarlyStopping, ModelCheckpoint
from lt.loggers import CSVLogger
from lt.plugins import AsyncCheckpointIO, CheckpointIO
from lt.testing.campaign import Trial, note, noted, plain
from lt.testing.kills import NotedStart, NotingTrainer, final_state
from lt_data import ResumableLoader, TensorLoader
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy

SAMPLES = 44


class Samples(Dataset[Any]):
    """Numbers with their index; augmented ones draw from all of a process's generators."""

    def __init__(self, augmented: bool = False, size: int = SAMPLES) -> None:
        self.augmented = augmented
        self.x = torch.randn(size, 6, generator=torch.Generator().manual_seed(5))

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[int, Tensor, Tensor]:
        x = self.x[index]
        if self.augmented:
            x = x + 0.1 * torch.randn(6) * random.random()
        return index, x, x.sum().round() % 3


class Net(L.LightningModule):
    def __init__(self, per_step_schedule: bool = False, plateau: str = "") -> None:
        super().__init__()
        self.per_step_schedule, self.plateau = per_step_schedule, plateau
        self.net = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3))

    def loss(self, batch: Any) -> Tensor:
        return F.cross_entropy(self.net(batch[1]), batch[2].long() % 3)

    def seen(self, batch: Any, batch_idx: int) -> None:
        ids, values = batch[0].tolist(), hashlib.blake2b(bytes(batch[1].view(torch.uint8).flatten().tolist()))
        note(Path(self.trainer.default_root_dir), "batch", self.current_epoch, batch_idx, ids, values.hexdigest()[:16])

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        self.seen(batch, batch_idx)
        loss = self.loss(batch)
        self.log("loss", loss, on_step=True, on_epoch=True)
        self.log("most", loss, on_step=False, on_epoch=True, reduce_fx="max")
        self.log("spread", float(batch_idx), on_step=False, on_epoch=True, reduce_fx=lambda v: v.std())
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", self.loss(batch))

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), 0.02)
        if self.plateau:
            scheduler: Any = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.8, patience=0)
            config = {"scheduler": scheduler, "interval": self.plateau, "monitor": "val_loss"}
            return {"optimizer": optimizer, "lr_scheduler": config}
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 3, 0.9)
        interval = "step" if self.per_step_schedule else "epoch"
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": interval}}


class WithMetrics(Net):
    """torchmetrics' objects: one logged as an object, one only updated until the epoch ends."""

    def __init__(self) -> None:
        super().__init__()
        self.accuracy = MulticlassAccuracy(3, average="micro")
        self.quiet = MeanMetric()
        self.val_accuracy = MulticlassAccuracy(3, average="micro")

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        self.accuracy(self.net(batch[1]), batch[2].long() % 3)
        self.quiet.update(loss)
        self.log("accuracy", self.accuracy, on_step=True, on_epoch=True)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        super().validation_step(batch, batch_idx)
        self.val_accuracy(self.net(batch[1]), batch[2].long() % 3)
        self.log("val_accuracy", self.val_accuracy)

    def on_train_epoch_end(self) -> None:
        self.log("quiet", self.quiet.compute())
        self.quiet.reset()


class FromTwo(Net):
    """Batches of two loaders, the shorter one again and again."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        long, short = batch["long"], batch["short"]
        return super().training_step([torch.cat(pair) for pair in zip(long, short, strict=True)], batch_idx)


class ByHand(Net):
    """Two optimizers, one at every other batch."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> None:
        self.seen(batch, batch_idx)
        first, second = self.optimizers()
        loss = self.loss(batch)
        first.zero_grad()
        self.manual_backward(loss)
        first.step()
        if batch_idx % 2:
            second.step()
            second.zero_grad()
        self.log("loss", loss, on_step=True, on_epoch=True)

    def configure_optimizers(self) -> Any:
        first, last = self.net[0], self.net[-1]
        return [torch.optim.Adam(first.parameters(), 0.01), torch.optim.SGD(last.parameters(), 0.1, momentum=0.9)]


class NotingIO(CheckpointIO):
    """Notes in the trace when a file is complete."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save_checkpoint(self, checkpoint: Any, path: Any, storage_options: Any = None) -> None:
        super().save_checkpoint(checkpoint, path, storage_options)
        note(self.folder, "saved", checkpoint["global_step"])


def trial(
    name: str,
    make: Callable[[], L.LightningModule] = Net,
    *,
    data: Callable[[], Any] | None = None,
    checkpoint: dict[str, Any] | None = None,
    stopping: dict[str, Any] | None = None,
    in_background: bool = False,
    **flags: Any,
) -> Trial:
    """A configuration; `data`, `checkpoint`, `stopping` and `in_background` say what differs from the usual."""

    def run(folder: Path) -> None:
        warnings.simplefilter("ignore")
        torch.manual_seed(1)
        model = make()
        L.seed_everything(2, verbose=False)
        when = checkpoint or {"every_n_train_steps": 2}
        keep = ModelCheckpoint(folder, save_last=True, save_on_exception=True, **when)
        callbacks = [NotedStart(), keep, *([EarlyStopping(**stopping)] if stopping else [])]
        trainer = NotingTrainer(
            **{"max_epochs": 3, "log_every_n_steps": 1, **flags}, accelerator="cpu", default_root_dir=folder,
            callbacks=callbacks, logger=CSVLogger(folder, "csv", 0), enable_progress_bar=False,
            enable_model_summary=False, plugins=[AsyncCheckpointIO(NotingIO(folder))] if in_background else None,
        )  # fmt: skip
        training = data() if data else DataLoader(Samples(), 4, shuffle=True)
        trainer.fit(model, training, DataLoader(Samples(size=10), 4), ckpt_path="last")
        torch.save({"outcome": final(trainer, keep)}, folder / "outcome.pt")

    return Trial(name, run, outcome)


def final(trainer: Any, keep: ModelCheckpoint) -> dict[str, Any]:
    """The state that a run ends with."""
    stopping = [(cb.wait_count, cb.stopped_epoch, plain(cb.best_score)) for cb in trainer.early_stopping_callbacks]
    return final_state(trainer) | {
        "stopping": stopping,
        "kept": sorted((Path(path).name, score.item()) for path, score in keep.best_k_models.items()),
        "lost files": [
            p for p in (*keep.best_k_models, keep.best_model_path, keep.last_model_path) if not Path(p).exists()
        ],
        "best": [Path(keep.best_model_path).name, plain(keep.best_model_score)],
    }


def outcome(folder: Path) -> dict[str, Any]:
    """All that is compared of a finished run."""
    batches: dict[tuple[int, int], Any] = {}
    repeated_alike = True
    for _, _, epoch, index, *seen in noted(folder, "batch"):
        repeated_alike &= batches.setdefault((epoch, index), seen) == seen
    left: dict[str, Any] = torch.load(folder / "outcome.pt")["outcome"]
    return left | {"batches": batches, "batches done twice": repeated_alike, "records": records(folder)}


def records(folder: Path) -> dict[str, dict[str, str]]:
    """The logged values by step; where a step was logged twice, the last ones."""
    found: dict[str, dict[str, str]] = {}
    with open(folder / "csv" / "version_0" / "metrics.csv", newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["step"], {}).update({k: v for k, v in row.items() if v})
    return found


def with_workers() -> DataLoader[Any]:
    return DataLoader(Samples(augmented=True), 4, shuffle=True, num_workers=2)


def with_kept_workers() -> DataLoader[Any]:
    return DataLoader(Samples(augmented=True), 4, shuffle=True, num_workers=2, persistent_workers=True)


def with_a_generator() -> DataLoader[Any]:
    return DataLoader(Samples(augmented=True), 4, shuffle=True, generator=torch.Generator().manual_seed(3))


def two_loaders() -> dict[str, Any]:
    short = DataLoader(Samples(size=10), 2, shuffle=True)
    return {"long": DataLoader(Samples(augmented=True), 4, shuffle=True), "short": short}


def with_a_state() -> ResumableLoader:
    return ResumableLoader(Samples(augmented=True), 4, shuffle=True)


def with_a_state_of_its_own() -> TensorLoader:
    data = Samples()
    return TensorLoader(torch.arange(SAMPLES), data.x, data.x.sum(1).round() % 3, batch_size=4, shuffle=True)


TOP = {"monitor": "val_loss", "every_n_train_steps": 3, "save_top_k": 2}
STOP = {"monitor": "val_loss", "patience": 3}
TRIALS = {
    t.name: t
    for t in (
        trial("shuffle, dropout"),
        trial("augmentation, own generator", data=with_a_generator),
        trial("accumulation 3", lambda: Net(per_step_schedule=True), accumulate_grad_batches=3),
        trial("validation mid-epoch, plateau", lambda: Net(plateau="step"), val_check_interval=4),
        trial("plateau by epoch", lambda: Net(plateau="epoch"), checkpoint={"every_n_epochs": 1}),
        trial("top-k, early stopping", val_check_interval=3, checkpoint=TOP, stopping=STOP, max_epochs=9),
        trial("early stopping by epoch", stopping={"monitor": "val_loss", "patience": 1}, max_epochs=9),
        trial("torchmetrics", WithMetrics, val_check_interval=5),
        trial("2 workers, augmentation", data=with_workers),
        trial("2 kept workers, augmentation", data=with_kept_workers),
        trial("two loaders", FromTwo, data=two_loaders, val_check_interval=4),
        trial("resumable loader", data=with_a_state),
        trial("tensor loader, limited", data=with_a_state_of_its_own, limit_train_batches=7),
        trial("manual, 2 optimizers", ByHand),
        trial("fp16 scaler", precision="16-mixed"),
        trial("saved in the background", in_background=True),
        trial("max_steps", max_epochs=-1, max_steps=29, val_check_interval=4),
    )
}
