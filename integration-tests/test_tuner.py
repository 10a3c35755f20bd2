"""Finders of learning rates and batch sizes: what they find, and that training after them is training without them."""

import json
import random
import sys
import weakref
from typing import ClassVar

import lt as L
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from lt.callbacks import BatchSizeFinder, LearningRateFinder
from lt.demo import load_digits
from lt.tuner import Tuner
from programs import python
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset
from torchmetrics.classification import MulticlassAccuracy

IMAGES, LABELS = (t[:96] for t in load_digits())


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


class Noisy(Dataset):
    """Draws from every generator there is, some of them its own."""

    def __init__(self):
        self.own, self.numbers, self.calls = random.Random(3), np.random.default_rng(4), 0

    def __len__(self):
        return len(IMAGES)

    def __getitem__(self, i):
        self.calls += 1
        noise = self.own.random() + self.numbers.random() + random.random() + np.random.rand() + self.calls / 1000
        return IMAGES[i] + 0.01 * (noise + torch.rand(())), LABELS[i]


class Data(L.LightningDataModule):
    def __init__(self, workers=0, batch_size=16):
        super().__init__()
        self.batch_size, self.workers = batch_size, workers
        self.generator = torch.Generator().manual_seed(5)
        self.requested = []

    def setup(self, stage):
        self.dataset = Noisy()

    def train_dataloader(self):
        self.requested.append(self.batch_size)
        return DataLoader(
            self.dataset, self.batch_size, shuffle=True, num_workers=self.workers, generator=self.generator
        )

    def val_dataloader(self):
        return DataLoader(TensorDataset(IMAGES, LABELS), self.batch_size)

    test_dataloader = predict_dataloader = val_dataloader


class Classifier(L.LightningModule):
    """Everything that remembers: BatchNorm, a metric, a buffer that is not saved, a list, a frozen layer, gradients."""

    def __init__(self, dropout=0.3, scheduled=False, momentum=False):
        super().__init__()
        self.save_hyperparameters()
        self.lr = 1e-2
        self.net = nn.Sequential(
            nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16), nn.Dropout(dropout), nn.Linear(16, 10)
        )
        self.net[4].bias.requires_grad_(False)
        self.accuracy = MulticlassAccuracy(10)
        self.register_buffer("steps_seen", torch.zeros(()), persistent=False)
        self.losses: list[float] = []

    def forward(self, images):
        return self.net(images)

    def training_step(self, batch, batch_idx):
        self.steps_seen += 1
        logits = self(batch[0]) + 1e-3 * len(self.losses) + 1e-3 * self.steps_seen
        loss = F.cross_entropy(logits, batch[1]) + 0.01 * torch.rand(())
        self.losses.append(loss.item())
        self.accuracy(logits, batch[1])
        self.log("train_acc", self.accuracy, on_step=True, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", F.cross_entropy(self(batch[0]), batch[1]) + torch.rand(()))

    test_step = validation_step

    def predict_step(self, batch, batch_idx):
        return self(batch[0])

    def configure_optimizers(self):
        if self.hparams.momentum:
            optimizer = torch.optim.SGD(self.parameters(), lr=self.lr, momentum=0.9)
        else:
            optimizer = torch.optim.Adam(self.parameters(), lr=self.lr)
        if not self.hparams.scheduled:
            return optimizer
        scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.lr, self.trainer.estimated_stepping_batches)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def quiet(**kwargs):
    off = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False, "logger": False}
    return L.Trainer(**{"max_epochs": 2, "accelerator": "cpu", **off, **kwargs})


def flat(value, name=""):
    """Every number in nested states, by name."""
    if isinstance(value, dict):
        return {k: v for key, inner in value.items() for k, v in flat(inner, f"{name}.{key}").items()}
    if isinstance(value, (list, tuple)):
        return flat(dict(enumerate(value)), name)
    return {name: value.tolist() if isinstance(value, torch.Tensor) else value}


def everything(trainer, model, data):
    """What is left of a run, down to the next random number of each generator."""
    return flat(
        {
            "weights": {**model.state_dict(), **dict(model.named_buffers())},
            "optimizers": [o.state_dict() for o in trainer.optimizers],
            "schedulers": [c.scheduler.state_dict()["last_epoch"] for c in trainer.lr_scheduler_configs],
            "metrics": trainer.callback_metrics,
            "losses": model.losses,
            "steps": trainer.global_step,
            "modes": [m.training for m in model.modules()],
            "trained": [p.requires_grad for p in model.parameters()],
            "next": [torch.rand(2), random.random(), np.random.rand(), torch.rand(2, generator=data.generator)],
            "own": [data.dataset.own.random(), data.dataset.numbers.random(), data.dataset.calls],
        }
    )


def seeded(**options):
    L.seed_everything(11)
    return Classifier(**options)


def tuned(model, data, **options):
    trainer = quiet(**options)
    tuner = Tuner(trainer)
    curve = tuner.lr_find(model, datamodule=data, num_training=15, max_lr=0.1, update_attr=False)
    assert len(curve.results["lr"]) == 15
    assert tuner.scale_batch_size(model, datamodule=data, init_val=16, max_val=32) == 32
    data.batch_size = 16
    assert data.requested == []  # what the data module remembers is put back as well
    return trainer


def with_callbacks(model, data, **options):
    finders = [LearningRateFinder(num_training_steps=15, update_attr=False), BatchSizeFinder(init_val=16, max_trials=1)]
    return quiet(callbacks=finders, **options)


@pytest.mark.parametrize("prepare", [tuned, with_callbacks])
@settings(max_examples=5, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@example({"dropout": 0.5, "scheduled": True, "momentum": False}, {"accumulate_grad_batches": 2}, 2)
@given(
    module=st.fixed_dictionaries(
        {"dropout": st.sampled_from([0.0, 0.5]), "scheduled": st.booleans(), "momentum": st.booleans()}
    ),
    options=st.fixed_dictionaries(
        {"accumulate_grad_batches": st.integers(1, 3), "num_sanity_val_steps": st.integers(0, 1)}
    ),
    workers=st.just(0),
)
def test_training_after_tuning_is_training_without_it_bit_for_bit(prepare, module, options, workers):
    model, data, trainer = seeded(**module), Data(workers), quiet(**options)
    trainer.fit(model, datamodule=data)
    expected = everything(trainer, model, data)
    model, data = seeded(**module), Data(workers)
    trainer = prepare(model, data, **options)
    trainer.fit(model, datamodule=data)
    assert everything(trainer, model, data) == expected


def test_tuning_between_two_fits_changes_nothing_either():
    outcomes = []
    for tunes in (False, True):
        model, data, trainer = seeded(scheduled=True), Data(), quiet(max_epochs=1)
        trainer.fit(model, datamodule=data)
        if tunes:
            Tuner(trainer).lr_find(model, datamodule=data, num_training=9, update_attr=False)
        trainer.fit_loop.max_epochs = 3
        trainer.fit(model, datamodule=data)
        outcomes.append(everything(trainer, model, data))
    assert outcomes[0] == outcomes[1]


def test_no_file_is_written_and_the_trainer_stays_as_it_was(tmp_path):
    trainer = L.Trainer(max_epochs=1, accelerator="cpu", default_root_dir=tmp_path, enable_progress_bar=False)
    before = {name: value for name, value in vars(trainer).items() if name != "fabric"}
    model, data = seeded(), Data()
    tuner = Tuner(trainer)
    tuner.lr_find(model, datamodule=data, num_training=12, update_attr=False)
    tuner.scale_batch_size(model, datamodule=data, max_trials=2)
    assert list(tmp_path.iterdir()) == []
    assert {name: value for name, value in vars(trainer).items() if name != "fabric"} == before
    assert model._trainer is None
    assert not hasattr(data, "dataset")


# The learning rate


def test_the_rate_found_is_where_the_loss_falls_and_it_trains():
    L.seed_everything(2)
    model, data = L.demo.DigitClassifier(), L.demo.Digits()
    curve = Tuner(quiet()).lr_find(model, datamodule=data)
    assert 1e-3 < curve.suggestion() < 0.5
    assert model.lr == curve.suggestion()
    assert curve.results["lr"][0] == pytest.approx(1e-8)
    assert len(curve.results["lr"]) == len(curve.results["loss"]) <= 100


def test_a_diverging_loss_ends_the_search_early():
    curve = Tuner(quiet()).lr_find(seeded(momentum=True), datamodule=Data(), max_lr=1e6, update_attr=False)
    assert len(curve.results["lr"]) < 100
    whole = Tuner(quiet()).lr_find(
        seeded(), datamodule=Data(), num_training=20, max_lr=1e3, early_stop_threshold=None, update_attr=False
    )
    assert len(whole.results["lr"]) == 20


def test_the_callback_makes_schedulers_anew_for_the_rate_it_found():
    finder = LearningRateFinder(min_lr=1e-4, max_lr=10.0, num_training_steps=60)
    model, trainer = seeded(scheduled=True), quiet(callbacks=finder, max_epochs=1)
    trainer.fit(model, datamodule=Data())
    [group] = trainer.optimizers[0].param_groups
    assert model.lr == finder.optimal_lr.suggestion()
    assert group["max_lr"] == model.lr != 1e-2


def test_a_finder_of_your_own_looks_again_at_milestones():
    class AtMilestones(LearningRateFinder):
        def on_fit_start(self, trainer, pl_module):
            self.rates = []

        def on_train_epoch_start(self, trainer, pl_module):
            if trainer.current_epoch in (0, 2):
                self.lr_find(trainer, pl_module)
                self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    finder = AtMilestones(min_lr=1e-4, num_training_steps=40)
    model, trainer = seeded(), quiet(callbacks=finder, max_epochs=3)
    trainer.fit(model, datamodule=Data())
    assert len(finder.rates) == 2
    assert finder.rates[-1] == model.lr == trainer.optimizers[0].param_groups[0]["lr"]
    assert trainer.global_step == 18


def test_a_milestone_that_changes_nothing_leaves_training_as_it_is():
    class Looks(LearningRateFinder):
        def on_fit_start(self, trainer, pl_module): ...

        def on_train_epoch_start(self, trainer, pl_module):
            self.lr_find(trainer, pl_module)

    outcomes = []
    for callbacks in ([], Looks(num_training_steps=7, update_attr=False)):
        model, data, trainer = seeded(scheduled=True), Data(), quiet(callbacks=callbacks)
        trainer.fit(model, datamodule=data)
        outcomes.append(everything(trainer, model, data))
    assert outcomes[0] == outcomes[1]


def test_too_few_steps_give_no_suggestion_and_say_so():
    model = seeded()
    with pytest.warns(UserWarning, match=r"from 0 points: 5 were measured, of which the first 10 and the last 1"):
        curve = Tuner(quiet()).lr_find(model, datamodule=Data(), num_training=5)
    assert model.lr == 1e-2
    with pytest.warns(UserWarning, match="No learning rate"):
        assert curve.suggestion() is None


def test_a_module_without_a_rate_hears_the_nearest_name():
    model = seeded()
    model.lerning_rate = model.__dict__.pop("lr")
    with pytest.raises(
        AttributeError, match=r"`Classifier` has no `lr` and no `learning_rate`.*attr_name='lerning_rate'"
    ):
        Tuner(quiet()).lr_find(model, datamodule=Data())


def test_several_optimizers_are_refused():
    class Two(Classifier):
        automatic_optimization = False

        def configure_optimizers(self):
            return [torch.optim.SGD(self.parameters(), lr=self.lr) for _ in range(2)]

    with pytest.raises(ValueError, match="returned 2 optimizers, and a learning rate is looked for with one"):
        Tuner(quiet()).lr_find(Two(), datamodule=Data())


def test_data_that_can_be_read_once_is_refused():
    loader = iter([(IMAGES, LABELS)])
    with pytest.raises(ValueError, match=r"`list_iterator`, which can be read once, and a trial would use it up"):
        Tuner(quiet()).lr_find(seeded(), loader)
    assert next(loader)[0] is IMAGES


def test_an_error_in_a_trial_comes_through_with_everything_put_back():
    class Fails(Classifier):
        def training_step(self, batch, batch_idx):
            loss = super().training_step(batch, batch_idx)
            if len(self.losses) == 4:
                raise ZeroDivisionError
            return loss

    L.seed_everything(11)
    model, data = Fails(), Data()
    before, state = flat({**model.state_dict(), **dict(model.named_buffers())}), torch.get_rng_state()
    with pytest.raises(ZeroDivisionError):
        Tuner(quiet()).lr_find(model, datamodule=data)
    assert flat({**model.state_dict(), **dict(model.named_buffers())}) == before
    assert torch.equal(torch.get_rng_state(), state)
    assert (model.losses, [p.grad for p in model.parameters()]) == ([], [None] * 6)


# The batch size


class Limited(Classifier):
    """Runs out of memory above a batch size."""

    most = 23
    error: BaseException = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
    held: ClassVar[list[weakref.ref[torch.Tensor]]] = []

    def training_step(self, batch, batch_idx):
        if len(batch[0]) > self.most:
            self.big = big = torch.ones(10)
            self.held.append(weakref.ref(big))
            raise self.error
        return super().training_step(batch, batch_idx)

    def test_step(self, batch, batch_idx):
        if len(batch[0]) > self.most:
            raise self.error

    validation_step = predict_step = test_step


ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("CUDA error: out of memory"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory: you tried to"),
    MemoryError(),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: type(e).__name__ + str(e)[:9])
@pytest.mark.parametrize(("mode", "found"), [("power", 16), ("binsearch", 23)])
def test_the_size_found_is_the_largest_that_fits_and_it_trains(error, mode, found):
    model, data, trainer = Limited(), Data(), quiet(max_epochs=1)
    model.error = error
    before = flat(model.state_dict())
    assert Tuner(trainer).scale_batch_size(model, datamodule=data, mode=mode, margin=0.0) == found
    assert data.batch_size == found
    assert flat(model.state_dict()) == before
    assert not hasattr(model, "big")
    assert [big for big in Limited.held if big() is not None] == []
    trainer.fit(model, datamodule=data)
    assert trainer.global_step == -(-96 // found)


@pytest.mark.parametrize("method", ["validate", "test", "predict"])
def test_sizes_are_found_for_evaluation(method):
    data = Data()
    assert Tuner(quiet()).scale_batch_size(Limited(), datamodule=data, method=method) == 16
    model, data = Limited(), Data(batch_size=1)
    trainer = quiet(callbacks=BatchSizeFinder(max_trials=3))
    getattr(trainer, method)(model, datamodule=data)
    assert data.batch_size == 8
    seen = (
        trainer.predict_dataloaders
        if method == "predict"
        else getattr(trainer, f"{'val' if method == 'validate' else 'test'}_dataloaders")
    )
    assert seen.batch_size == 8


def test_a_finder_of_your_own_takes_a_larger_size_from_an_epoch_on():
    class Later(BatchSizeFinder):
        def on_fit_start(self, trainer, pl_module): ...

        def on_train_epoch_start(self, trainer, pl_module):
            if trainer.current_epoch == 1:
                self.scale_batch_size(trainer, pl_module)

    model, data = Limited(), Data(batch_size=8)
    trainer = quiet(callbacks=Later(), max_epochs=3, num_sanity_val_steps=0)
    trainer.fit(model, datamodule=data)
    assert (trainer.global_step, trainer.num_training_batches) == (12 + 6 + 6, 6)


def test_a_schedule_over_all_steps_is_made_for_the_size_that_was_found():
    model, data, trainer = Limited(scheduled=True), Data(batch_size=4), quiet(callbacks=BatchSizeFinder())
    trainer.fit(model, datamodule=data)
    assert trainer.global_step == trainer.lr_scheduler_configs[0].scheduler.total_steps == 12


def test_a_margin_stays_below_what_was_found():
    assert Tuner(quiet()).scale_batch_size(Limited(), datamodule=Data(), mode="binsearch", margin=0.2) == 18


def test_the_size_in_the_hyperparameters_is_set_as_well():
    class Saves(Data):
        def __init__(self, batch_size=4):
            super().__init__(batch_size=batch_size)
            self.save_hyperparameters()

    data = Saves()
    assert Tuner(quiet()).scale_batch_size(Limited(), datamodule=data) == 16
    assert (data.batch_size, data.hparams.batch_size) == (16, 16)


def test_no_size_that_fits_is_an_error_and_the_size_is_as_it_was():
    model, data = Limited(), Data()
    model.most = 0
    with pytest.raises(RuntimeError, match=r"Memory ran out at all batch sizes that were tried, 4, 2, 1\. Start with"):
        Tuner(quiet()).scale_batch_size(model, datamodule=data, init_val=4)
    assert data.batch_size == 16


def test_other_errors_come_through():
    model, data = Limited(), Data()
    model.error = RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        Tuner(quiet()).scale_batch_size(model, datamodule=data)
    assert data.batch_size == 16


def test_a_loader_that_does_not_follow_the_size_is_noticed():
    class Fixed(Data):
        def train_dataloader(self):
            return DataLoader(self.dataset, 32)

    with pytest.raises(ValueError, match=r"set to 2 and 4, and the loader makes batches of 32 both times"):
        Tuner(quiet()).scale_batch_size(Classifier(), datamodule=Fixed())


def test_names_that_are_not_there_and_loaders_that_are_given_are_refused():
    with pytest.raises(ValueError, match=r"have no `batchsize`.*Did you mean `batch_arg_name='batch_size'`"):
        Tuner(quiet()).scale_batch_size(Classifier(), datamodule=Data(), batch_arg_name="batchsize")
    model = Classifier()
    model.batch_size = 4
    with pytest.raises(ValueError, match=r"`trainer.fit` was given loaders, whose size is fixed"):
        Tuner(quiet()).scale_batch_size(model, DataLoader(TensorDataset(IMAGES, LABELS)))


def test_evaluation_of_loaders_that_are_given_takes_them_as_they_are():
    data = Data()
    rows = quiet(callbacks=BatchSizeFinder()).validate(Classifier(), DataLoader(TensorDataset(IMAGES, LABELS), 48))
    assert "val_loss" in rows[0]
    with pytest.raises(ValueError, match=r"`trainer.validate` was given loaders"):
        Tuner(quiet()).scale_batch_size(Limited(), dataloaders=data.val_dataloader(), method="validate")


def test_nothing_is_tuned_in_a_fast_dev_run():
    tuner, model, data = Tuner(quiet(fast_dev_run=True)), Classifier(), Data()
    assert tuner.lr_find(model, data) is None
    assert tuner.scale_batch_size(model, data) is None
    assert (model.lr, data.batch_size) == (1e-2, 16)


def test_a_data_module_may_stand_in_the_place_of_the_loaders():
    model, data = Limited(), Data()
    assert Tuner(quiet()).scale_batch_size(model, data) == data.batch_size == 16
    assert Tuner(quiet()).lr_find(model, data, num_training=5, update_attr=False).results["lr"]


@pytest.mark.parametrize("finder", [LearningRateFinder(), BatchSizeFinder()])
def test_a_tuner_beside_the_callback_is_refused(finder):
    tuner = Tuner(quiet(callbacks=finder))
    find = tuner.lr_find if isinstance(finder, LearningRateFinder) else tuner.scale_batch_size
    with pytest.raises(ValueError, match=f"has a `{type(finder).__name__}`, which looks at the start of each run"):
        find(Classifier(), Data())


def test_a_resumed_fit_keeps_the_size_and_the_rate_that_were_found(tmp_path):
    def finders(trials):
        return [BatchSizeFinder(max_trials=trials), LearningRateFinder(1e-4, num_training_steps=30)]

    model, data, trainer = Limited(), Data(), quiet(callbacks=finders(4), max_epochs=1)
    trainer.fit(model, datamodule=data)
    trainer.save_checkpoint(tmp_path / "one.ckpt")
    again, data2, resumed = Limited(), Data(), quiet(callbacks=finders(1), max_epochs=2)  # a search would find 2
    resumed.fit(again, datamodule=data2, ckpt_path=tmp_path / "one.ckpt")
    assert (data2.batch_size, again.lr) == (data.batch_size, model.lr) == (16, model.lr)
    assert resumed.global_step == 2 * trainer.global_step


REAL = """
import resource, sys
import lt as L, torch
from torch.utils.data import DataLoader, TensorDataset
from lt.tuner import Tuner

class Model(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.batch_size, self.layer = 2, torch.nn.Linear(1, 1)

    def training_step(self, batch, batch_idx):
        wide = torch.zeros(len(batch[0]), 2_500_000)      # 10 MB for each sample
        return self.layer(batch[0]).mean() + wide.mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def train_dataloader(self):
        return DataLoader(TensorDataset(torch.ones(4096, 1)), self.batch_size)

trainer = L.Trainer(max_steps=2, accelerator="cpu", logger=False, enable_checkpointing=False,
                    enable_progress_bar=False, enable_model_summary=False)
model = Model()
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 800_000_000, resource.RLIM_INFINITY))
size = Tuner(trainer).scale_batch_size(model, mode=sys.argv[1], margin=0.25)
trainer.fit(model)
print("found", size, trainer.global_step)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space by /proc and RLIMIT_AS")
@pytest.mark.parametrize("mode", ["power", "binsearch"])
def test_memory_that_really_runs_out_is_survived(tmp_path, mode):
    (tmp_path / "real.py").write_text(REAL)
    done = python("real.py", mode, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    word, size, steps = done.stdout.split()[-3:]
    assert (word, int(steps)) == ("found", 2)
    assert 16 <= int(size) <= 80


# Several processes


TOGETHER = """
import json, sys
import lt as L, torch
from torch.utils.data import DataLoader, TensorDataset
from lt.tuner import Tuner
from lt.demo import DigitClassifier, Digits
from lt.callbacks import LearningRateFinder

if __name__ == "__main__":
    L.seed_everything(3)
    finders = [LearningRateFinder(num_training_steps=20)] if sys.argv[1] == "callback" else []
    trainer = L.Trainer(accelerator="cpu", devices=2, strategy=sys.argv[2], max_epochs=1, limit_train_batches=4,
                        limit_val_batches=1, callbacks=finders, logger=False, enable_checkpointing=False,
                        enable_progress_bar=False, enable_model_summary=False)
    model, data = DigitClassifier(), Digits()
    if sys.argv[1] == "size":
        Tuner(trainer).scale_batch_size(model, datamodule=data)
    curve = None
    if sys.argv[1] == "look":
        curve = Tuner(trainer).lr_find(model, datamodule=data, num_training=20, update_attr=False)
    trainer.fit(model, datamodule=data)
    weights = [getattr(p, "full_tensor", lambda p=p: p)() for p in model.parameters()]
    total = sum(float(p.detach().double().sum()) for p in weights)
    found = [model.lr, total, curve and curve.results]
    open(f"rank{trainer.global_rank}.json", "w").write(json.dumps(found))
"""


def together(folder, *arguments):
    """What each rank found, or what the run said when it failed."""
    folder.mkdir()
    (folder / "together.py").write_text(TOGETHER)
    done = python("together.py", *arguments, cwd=folder)
    if done.returncode:
        return done.stderr
    return [json.loads(path.read_text()) for path in sorted(folder.glob("rank*.json"))]


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Rate and weights of a fit on two processes without any looking."""
    found = together(tmp_path_factory.mktemp("plain") / "run", "plain", "ddp")
    assert isinstance(found, list), found
    return found[0][:2]


@pytest.mark.slow
@pytest.mark.parametrize(("strategy", "ranks"), [("ddp", 2), ("ddp_spawn", 1), ("fsdp", 2)])
def test_processes_find_the_same_curve_and_train_as_without_looking(tmp_path, plain, strategy, ranks):
    looked = together(tmp_path / "look", "look", strategy)
    assert isinstance(looked, list), looked
    assert len(looked) == ranks
    assert looked[0] == looked[-1]
    assert looked[0][:2] == (pytest.approx(plain) if strategy == "fsdp" else plain)
    assert len(looked[0][2]["loss"]) == 20


@pytest.mark.slow
def test_processes_take_the_same_rate_from_the_callback(tmp_path):
    found = together(tmp_path / "callback", "callback", "ddp")
    assert found[0] == found[1]
    assert found[0][0] != 2e-3


def test_a_batch_size_is_not_looked_for_with_several_processes(tmp_path):
    assert "A batch size is looked for with 2 processes" in together(tmp_path / "size", "size", "ddp")
