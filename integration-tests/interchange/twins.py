"""The same models, data and runs under either framework; nothing in them is random, so runs can be compared."""

import copy
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

BATCHES, EPOCHS = 8, 3
KINDS = ("one optimizer", "schedule by step", "schedule by epoch", "two optimizers by hand", "weight averaging")
SAVED_AFTER = {"end of epoch": BATCHES, "mid-epoch": BATCHES + 3}


def callbacks_of(L: ModuleType) -> Any:
    return L.pytorch.callbacks if hasattr(L, "pytorch") else L.callbacks


def model_class(L: ModuleType, kind: str) -> type:
    """A `LightningModule` of the framework `L`."""

    class Model(L.LightningModule):
        def __init__(self, kind: str, width: int, extra: float = 0.5) -> None:
            super().__init__()
            self.save_hyperparameters()
            torch.manual_seed(1)
            self.net = nn.Sequential(nn.Linear(3, width), nn.ReLU(), nn.Linear(width, 1))

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            loss = F.mse_loss(self.net(batch[0]), batch[1])
            self.log("loss", loss)
            return loss

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.log("val_loss", F.mse_loss(self.net(batch[0]), batch[1]))

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.AdamW(self.parameters(), 0.05)
            if self.hparams["kind"] == "one optimizer":
                return optimizer
            interval = "step" if self.hparams["kind"] == "schedule by step" else "epoch"
            scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.7)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": interval}}

        def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
            checkpoint["own"] = {"note": 7}

        def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
            self.own = checkpoint["own"]

    class ByHand(Model):
        def __init__(self, kind: str, width: int, extra: float = 0.5) -> None:
            super().__init__(kind, width, extra)
            self.automatic_optimization = False

        def training_step(self, batch: Any, batch_idx: int) -> None:
            for optimizer in self.optimizers():
                loss = F.mse_loss(self.net(batch[0]), batch[1])
                optimizer.zero_grad()
                self.manual_backward(loss)
                optimizer.step()

        def configure_optimizers(self) -> Any:
            return [torch.optim.Adam(self.net[0].parameters(), 0.05), torch.optim.SGD(self.net[2].parameters(), 0.05)]

    return ByHand if kind == "two optimizers by hand" else Model


def data_class(L: ModuleType) -> type:
    class Data(L.LightningDataModule):
        def __init__(self, batch_size: int) -> None:
            super().__init__()
            self.save_hyperparameters()
            self.seen = 0

        def train_dataloader(self) -> Any:
            x = torch.randn(BATCHES * 4, 3, generator=torch.Generator().manual_seed(5))
            return DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), self.hparams["batch_size"])

        val_dataloader = train_dataloader

        def state_dict(self) -> dict[str, Any]:
            return {"seen": 5}

        def load_state_dict(self, state: dict[str, Any]) -> None:
            self.seen = state["seen"]

    Data.__qualname__ = "Data"  # the key of its state in a checkpoint
    return Data


def watcher(L: ModuleType, save_at: int, path: Path) -> Any:
    """A callback that notes where each batch is trained and what was restored, and saves after one of the batches."""

    class Watcher(L.Callback):
        def __init__(self) -> None:
            self.places: list[tuple[int, int]] = []
            self.steps: list[int] = []
            self.restored: dict[str, Any] = {}

        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            stopping, keep = (getattr(trainer, name) for name in ("early_stopping_callback", "checkpoint_callback"))
            self.restored = {
                "optimizers": [copy.deepcopy(o.state_dict()["state"]) for o in trainer.optimizers],
                "schedulers": [c.scheduler.last_epoch for c in trainer.lr_scheduler_configs],
                "data": trainer.datamodule.seen,
                "own": getattr(pl_module, "own", None),
                "early stopping": float(stopping.best_score),
                "checkpoints": (keep.best_model_path, float(keep.best_model_score or 0)),
            }

        def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
            self.places.append((trainer.current_epoch, batch_idx))
            self.steps.append(trainer.global_step)

        def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            if len(self.places) == save_at and save_at % BATCHES:
                trainer.save_checkpoint(path)

        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            if len(self.places) == save_at and not save_at % BATCHES:
                trainer.save_checkpoint(path)

    return Watcher()


def fit(L: ModuleType, kind: str, folder: Path, save_at: int = -1, ckpt_path: Path | None = None) -> Any:
    """Train to the end in the framework `L`; the trainer and what was seen. Saves at `folder / saved.ckpt`."""
    of = callbacks_of(L)
    watch = watcher(L, save_at, folder / "saved.ckpt")
    callbacks = [of.EarlyStopping("val_loss", patience=50), of.ModelCheckpoint(folder / "kept", monitor="val_loss")]
    callbacks += [of.EMAWeightAveraging(decay=0.9)] if kind == "weight averaging" else []
    trainer = L.Trainer(
        max_epochs=EPOCHS, accelerator="cpu", devices=1, logger=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0, callbacks=[*callbacks, watch], default_root_dir=folder,
    )  # fmt: skip
    model = model_class(L, kind)(kind, width=6)
    trainer.fit(model, datamodule=data_class(L)(batch_size=4), ckpt_path=ckpt_path and str(ckpt_path))
    return trainer, watch


def same(one: Any, other: Any) -> bool:
    """Whether weights or nested states agree but for rounding."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, torch.Tensor):
        return torch.allclose(one, other, rtol=1e-5, atol=1e-7)
    return bool(one == other)
