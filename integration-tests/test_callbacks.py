"""Callbacks with the real trainer: they change no bit that they should not, resume exactly, and say what happened."""

import csv
import json
from pathlib import Path

import lt as L
import pytest
import torch
import torch.nn.functional as F
from lt.callbacks import (
    ActivationMonitor,
    BackboneFinetuning,
    DeviceStatsMonitor,
    EarlyStopping,
    EMAWeightAveraging,
    GarbageCollectionScheduler,
    GradientNormMonitor,
    ModelCheckpoint,
    ModelPruning,
    NaNGuard,
    OutOfMemoryObserver,
    SpikeDetection,
    StochasticWeightAveraging,
    ThroughputMonitor,
    TrainingSpikeException,
    WeightAveraging,
    stop_when_all,
)
from lt.demo import load_digits
from programs import python
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader, TensorDataset

IMAGES, LABELS = (t[:96] for t in load_digits())


def loader():
    return DataLoader(TensorDataset(IMAGES.flatten(1), LABELS), 16, shuffle=True)


class Classifier(L.LightningModule):
    flops_per_batch = 1000.0

    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2))
        self.head = nn.Linear(16, 10)

    def forward(self, images):
        return self.head(self.backbone(images))

    def training_step(self, batch, batch_idx):
        loss = F.cross_entropy(self(batch[0]), batch[1])
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", F.cross_entropy(self(batch[0]), batch[1]))

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW([p for p in self.parameters() if p.requires_grad], lr=1e-2)
        return [optimizer], [torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 0.9**epoch)]


class SaveAt(L.Callback):
    def __init__(self, step, path):
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)


def quiet(tmp_path, *callbacks, **settings):
    off = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False, "logger": False}
    settings = {"max_epochs": 4, "accelerator": "cpu", "log_every_n_steps": 2, **off, **settings}
    return L.Trainer(callbacks=list(callbacks), default_root_dir=tmp_path, **settings)


def fitted(trainer, make=Classifier, **arguments):
    torch.manual_seed(1)
    module = make()
    torch.manual_seed(2)
    trainer.fit(module, loader(), loader(), **arguments)
    return module


def same(a, b):
    return all(torch.equal(p, q) for p, q in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


STATEFUL = {
    "mean": WeightAveraging,
    "ema": lambda: EMAWeightAveraging(decay=0.9, update_every_n_steps=2),
    "swa": lambda: StochasticWeightAveraging(0.05, swa_epoch_start=2, annealing_epochs=2),
    "backbone": lambda: BackboneFinetuning(unfreeze_backbone_at_epoch=1),
    "pruning": lambda: ModelPruning("l1_unstructured", amount=0.3),
    "rows": lambda: ModelPruning("ln_structured", use_global_unstructured=False, pruning_dim=0, pruning_norm=2),
    "guard": lambda: NaNGuard("skip"),
    "spikes": SpikeDetection,
}


@pytest.mark.parametrize("step", [3, 8, 12, 20])
@pytest.mark.parametrize("name", STATEFUL)
def test_a_run_that_was_cut_continues_bit_for_bit(tmp_path, name, step):
    path = tmp_path / "cut.ckpt"
    whole = fitted(quiet(tmp_path, STATEFUL[name](), SaveAt(step, path)))
    continued = fitted(quiet(tmp_path, STATEFUL[name]()), ckpt_path=path)
    assert same(whole, continued)


@pytest.mark.parametrize("name", ["mean", "ema", "swa", "backbone", "pruning"])
def test_a_run_that_ended_continues_as_if_it_had_been_longer(tmp_path, name):
    whole = fitted(quiet(tmp_path, STATEFUL[name]()))
    keeper = ModelCheckpoint(tmp_path, save_last=True)
    fitted(quiet(tmp_path, STATEFUL[name](), keeper, max_epochs=3, enable_checkpointing=True))
    again = ModelCheckpoint(tmp_path, save_last=True)
    longer = fitted(
        quiet(tmp_path, STATEFUL[name](), again, enable_checkpointing=True), ckpt_path=keeper.last_model_path
    )
    assert same(whole, longer)


@pytest.mark.parametrize("name", ["mean", "backbone"])
def test_a_second_fit_goes_on_where_the_first_stopped(tmp_path, name):
    trainer = quiet(tmp_path, STATEFUL[name](), max_epochs=2)
    module = fitted(trainer)
    trainer.fit_loop.max_epochs = 3
    trainer.fit(module, loader(), loader())
    assert trainer.global_step == 18


def test_what_was_validated_is_what_a_checkpoint_evaluates(tmp_path):
    keeper = ModelCheckpoint(tmp_path, monitor="val_loss")
    trainer = quiet(tmp_path, EMAWeightAveraging(decay=0.5), keeper, enable_checkpointing=True)
    fitted(trainer)
    [metrics] = quiet(tmp_path).validate(Classifier(), loader(), ckpt_path=keeper.best_model_path, verbose=False)
    assert metrics["val_loss"] == pytest.approx(keeper.best_model_score.item(), abs=1e-6)


def everything(tmp_path):
    return [
        GradientNormMonitor(), ActivationMonitor(), DeviceStatsMonitor(), ThroughputMonitor(len), NaNGuard(),
        GarbageCollectionScheduler(5), OutOfMemoryObserver(), SpikeDetection(rtol=1e9),
    ]  # fmt: skip


def test_watching_changes_no_bit(tmp_path):
    assert same(fitted(quiet(tmp_path, *everything(tmp_path), logger="csv")), fitted(quiet(tmp_path)))


class Reads(TorchDispatchMode):
    """Counts single values that are read from the device."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function is torch.ops.aten._local_scalar_dense.default
        return function(*args, **(kwargs or {}))


def reads(tmp_path, monkeypatch, *callbacks):
    settings = {"logger": "csv", "log_every_n_steps": 1000, "max_epochs": 2, "limit_val_batches": 0}
    lists, tolist = [], torch.Tensor.tolist
    monkeypatch.setattr(torch.Tensor, "tolist", lambda tensor: lists.append(tensor) or tolist(tensor))
    with Reads() as counted:
        fitted(quiet(tmp_path, *callbacks, **settings))
    return counted.count + len(lists)


def test_watching_reads_the_device_in_logged_steps_only(tmp_path, monkeypatch):
    watched = reads(tmp_path, monkeypatch, *everything(tmp_path), EMAWeightAveraging(), NaNGuard("skip"))
    plain = reads(tmp_path, monkeypatch)
    assert watched - plain == 4  # the losses after each of two epochs, and what two guards counted


def test_what_is_watched_goes_to_the_loggers(tmp_path):
    trainer = quiet(tmp_path, *everything(tmp_path), logger="csv")
    fitted(trainer)
    rows = list(csv.DictReader((Path(trainer.log_dir) / "metrics.csv").read_text().splitlines()))
    norms = [row for row in rows if row.get("grad_2.0_norm_total")]
    assert [int(row["step"]) for row in norms] == list(range(2, 25, 2))
    for name in (
        "grad_2.0_norm/backbone.0", "activations/head/std", "train/device/samples_per_sec", "validate/samples",
        "train/device/flops_per_sec", "DeviceStatsMonitor.on_train_batch_end/cpu_percent",
    ):  # fmt: skip
        assert any(row.get(name) for row in rows), name


class Broken(Classifier):
    """Its head gives NaN from the tenth step on."""

    def __init__(self):
        super().__init__()
        self.head.register_forward_hook(
            lambda module, inputs, output: output * torch.nan if self.training and self.global_step > 9 else None
        )


def test_the_first_bad_module_is_named_and_the_last_good_weights_are_saved(tmp_path):
    keeper = ModelCheckpoint(tmp_path, save_on_exception=True)
    with pytest.raises(FloatingPointError, match=r"first in step 11\. .* `head` \(Linear\)"):
        fitted(quiet(tmp_path, NaNGuard(), keeper, enable_checkpointing=True, limit_val_batches=0), Broken)
    newest = max(tmp_path.glob("*.ckpt"), key=lambda path: path.stat().st_mtime)
    weights = torch.load(newest, weights_only=True)["state_dict"]
    assert all(value.isfinite().all() for value in weights.values())


def test_a_spike_ends_the_run_and_names_the_batch(tmp_path):
    class Spiking(Classifier):
        def training_step(self, batch, batch_idx):
            return super().training_step(batch, batch_idx) * (50 if self.global_step == 9 else 1)

    with pytest.raises(TrainingSpikeException) as raised:
        fitted(quiet(tmp_path, SpikeDetection()), Spiking)
    assert raised.value.batch_idx == 3
    assert json.loads((tmp_path / "skip_batches.json").read_text()) == [2, 3]


def test_memory_that_runs_out_leaves_a_report(tmp_path):
    class Huge(Classifier):
        def training_step(self, batch, batch_idx):
            return torch.empty(2**60).sum()

    with pytest.raises(RuntimeError, match="allocate memory"):
        fitted(quiet(tmp_path, OutOfMemoryObserver()), Huge)
    assert "[16, 64] torch.float32" in (tmp_path / "out_of_memory_rank0.txt").read_text()


def test_several_metrics_stop_together(tmp_path):
    loose, strict = EarlyStopping("val_loss", stopping_threshold=9.0), EarlyStopping("train_loss", patience=2)
    trainer = quiet(tmp_path, *stop_when_all(loose, strict), max_epochs=12)
    fitted(trainer)
    assert loose.stopping_reason.value == 1
    assert trainer.current_epoch == 12 or strict.wait_count >= 2


PROGRAM = """
import sys
import torch
sys.path.insert(0, {here!r})
import test_callbacks as t
import lt as L
from lt.callbacks import BackboneFinetuning

class Show(L.Callback):
    def on_train_end(self, trainer, pl_module):
        weights = torch.cat([p.detach().flatten() for p in pl_module.parameters()])
        every = trainer.engine.all_gather(weights)
        assert torch.equal(every[0], every[1]), "the ranks differ"
        moved = (pl_module.backbone[0].weight - start).abs().max()
        assert moved > 0, "the backbone was not trained"
        print("equal on both ranks")

if __name__ == "__main__":
    torch.manual_seed(1)
    module = t.Classifier()
    start = module.backbone[0].weight.detach().clone()
    callbacks = [BackboneFinetuning(1, train_bn=False), Show()]
    trainer = t.quiet(".", *callbacks, max_epochs=3, devices=2, strategy="ddp_find_unused_parameters_true")
    trainer.fit(module, t.loader(), t.loader())
"""


def test_what_is_unfrozen_later_is_the_same_on_all_ranks(tmp_path):
    script = tmp_path / "program.py"
    script.write_text(PROGRAM.format(here=str(Path(__file__).parent)))
    done = python(script, cwd=tmp_path)
    assert done.stdout.count("equal on both ranks") == 2, done.stderr[-3000:]
