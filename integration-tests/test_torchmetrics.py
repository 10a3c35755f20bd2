"""torchmetrics' objects in `self.log`: right over an epoch, computed once, reset, saved with the module."""

import lt as L
import lt_checkpoint
import pytest
import torch
import torch.nn.functional as F
from lt.demo import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score

IMAGES, LABELS = (t[:200] for t in load_digits())


class Classifier(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        self.train_acc = MulticlassAccuracy(10, average="micro")
        self.val_acc = MulticlassAccuracy(10, average="micro")
        self.val_metrics = MetricCollection(
            {"f1": MulticlassF1Score(10, average="macro"), "acc": MulticlassAccuracy(10, average="micro")},
            prefix="val/",
        )

    def training_step(self, batch, batch_idx):
        logits = self.net(batch[0])
        self.train_acc(logits, batch[1])
        self.log("train_acc", self.train_acc, on_step=True, on_epoch=True, prog_bar=True)
        return F.cross_entropy(logits, batch[1])

    def validation_step(self, batch, batch_idx):
        logits = self.net(batch[0])
        self.val_acc(logits, batch[1])
        self.val_metrics.update(logits, batch[1])
        self.log("val_acc", self.val_acc)
        self.log_dict(self.val_metrics)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), 1e-2)


def loader():
    return DataLoader(TensorDataset(IMAGES, LABELS), 32)


@pytest.fixture
def fitted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    model = Classifier()
    trainer = L.Trainer(max_epochs=2, enable_progress_bar=False, enable_model_summary=False, logger=False)
    trainer.fit(model, loader(), loader())
    return trainer, model


def test_metric_objects_give_the_value_over_the_whole_epoch(fitted):
    trainer, model = fitted
    with torch.no_grad():
        right = (model.net(IMAGES).argmax(1) == LABELS).float().mean()
    for name in ("val_acc", "val/acc"):
        torch.testing.assert_close(trainer.callback_metrics[name], right)
    assert 0 < trainer.callback_metrics["val/f1"] < 1


def test_by_step_and_by_epoch_a_metric_object_has_both_names(fitted):
    trainer, _ = fitted
    assert {"train_acc", "train_acc_step", "train_acc_epoch"} <= set(trainer.callback_metrics)


def test_metric_objects_start_each_epoch_with_nothing(fitted):
    trainer, model = fitted
    assert model.val_acc.update_count == model.train_acc.update_count == 0
    (result,) = trainer.validate(model, loader(), verbose=False)
    torch.testing.assert_close(result["val_acc"], result["val/acc"])


def test_a_persistent_state_is_in_the_checkpoint(fitted, tmp_path):
    trainer, model = fitted
    model.val_acc.persistent(True)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    assert any(key.startswith("val_acc.") for key in lt_checkpoint.load(tmp_path / "a.ckpt")["state_dict"])


def test_one_metric_object_for_several_loaders_is_refused_since_values_would_mix():
    class Mixed(L.LightningModule):
        def __init__(self):
            super().__init__()
            self.accuracy = MeanMetric()

        def validation_step(self, batch, batch_idx, dataloader_idx):
            self.accuracy(batch.mean())
            self.log("accuracy", self.accuracy)

    loaders = [DataLoader(torch.zeros(4, 1), 2), DataLoader(torch.ones(4, 1), 2)]
    trainer = L.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    with pytest.raises(ValueError, match=r"logged as `accuracy` for several loaders.*Keep one for each loader"):
        trainer.validate(Mixed(), loaders)
