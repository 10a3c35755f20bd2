"""What a step costs, counted: frames, numbers read from the device, memory. Times are for `nox -s bench`."""

import io
import sys
import tracemalloc
import weakref

import lt
import pytest
import torch
from lt.callbacks import TQDMProgressBar
from lt.loggers import CSVLogger
from lt_interfaces import CALLBACK_HOOKS, MODULE_HOOKS
from torch.utils._python_dispatch import TorchDispatchMode

NAMES = [f"metric_{i}" for i in range(20)]
FRAMES_OF_A_STEP = 20
FRAMES_OF_A_LOG = 2
READING = {torch.ops.aten._local_scalar_dense.default, torch.ops.aten.item.default}  # the second in inference mode


class Model(lt.LightningModule):
    def __init__(self, names=()):
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)
        self.names = names

    def training_step(self, batch, batch_idx):
        loss = self.layer(batch).square().mean()
        for name in self.names:
            self.log(name, loss, prog_bar=True)
        return loss

    def validation_step(self, batch, batch_idx):
        loss = self.layer(batch).square().mean()
        for name in self.names:
            self.log(name, loss)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)


def lean(**others):
    off = dict.fromkeys(("enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    return lt.Trainer(**{"accelerator": "cpu", "devices": 1, "logger": False, "max_epochs": 1, **off, **others})


class Dropped(io.StringIO):
    """A stream that keeps nothing: what a bar draws grows with the time that a run takes."""

    def write(self, text):
        return len(text)


def with_bar(root, **others):
    bar = TQDMProgressBar()
    bar.stream = Dropped()
    return lt.Trainer(
        accelerator="cpu", devices=1, default_root_dir=root, logger=CSVLogger(root), callbacks=[bar], max_epochs=1,
        enable_model_summary=False, **others,
    )  # fmt: skip


class Reads(TorchDispatchMode):
    """Notes the step at which a number is read from a tensor; each would wait for a GPU."""

    def __init__(self, trainer):
        super().__init__()
        self.trainer, self.steps = trainer, []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func in READING:
            self.steps.append(self.trainer.global_step)
        return func(*args, **(kwargs or {}))


class Frames:
    """Batches; counts by name the frames of lt that run for each, by the profiler of Python."""

    def __init__(self, number):
        self.number, self.seen, self.steps = number, [], []

    def __len__(self):
        return self.number

    def __iter__(self):
        batch = torch.ones(2, 4)
        for _ in range(self.number):
            self.seen = []
            sys.setprofile(self.note)
            yield batch
            sys.setprofile(None)
            self.steps.append(self.seen)

    def note(self, frame, event, _):
        home = frame.f_globals.get("__name__", "").partition(".")[0]
        if event == "call" and (home == "lt" or home.startswith("lt_")):
            self.seen.append(frame.f_code.co_name)


def frames_of_a_step(model, **others):
    """The names of the frames of one training step, far from the first."""
    batches = Frames(30)
    lean(**others).fit(model, batches)
    assert batches.steps[20] == batches.steps[25]
    return batches.steps[20]


def test_numbers_are_read_only_for_records_and_at_the_end_of_the_epoch(tmp_path):
    trainer = with_bar(tmp_path, log_every_n_steps=50)
    with Reads(trainer) as reads:
        trainer.fit(Model(NAMES), [torch.ones(2, 4)] * 210)
    assert set(reads.steps) == {50, 100, 150, 200, 210}


def test_validation_reads_nothing_before_its_end(tmp_path):
    trainer = with_bar(tmp_path)
    read_before = []

    class Counting(Model):
        def on_validation_batch_end(self, outputs, batch, batch_idx):
            read_before.append(len(reads.steps))

    with Reads(trainer) as reads:
        trainer.validate(Counting(NAMES), [torch.ones(2, 4)] * 60, verbose=False)
    assert read_before == [0] * 60
    assert len(reads.steps) >= len(NAMES)


def test_a_hook_that_nobody_overrides_has_no_frame():
    assert not {*CALLBACK_HOOKS, *MODULE_HOOKS} & set(frames_of_a_step(Model()))


def test_callbacks_that_do_nothing_cost_nothing():
    plain = frames_of_a_step(Model())
    assert frames_of_a_step(Model(), callbacks=[lt.Callback() for _ in range(5)]) == plain
    assert len(plain) <= FRAMES_OF_A_STEP


def test_each_further_metric_costs_two_frames():
    counts = [len(frames_of_a_step(Model(NAMES[:n]))) for n in (1, 20)]
    assert counts[1] - counts[0] == 19 * FRAMES_OF_A_LOG


@pytest.mark.parametrize("steps", [60, 600])
def test_a_step_costs_the_same_however_long_the_epoch_is(steps):
    batches = Frames(steps)
    lean(log_every_n_steps=0).fit(Model(NAMES), batches)
    assert batches.steps[-20] == batches.steps[20]


def test_memory_is_flat_after_the_first_steps(tmp_path):
    held = []

    class Watch(lt.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            if trainer.global_step == 100:
                tracemalloc.start()
            if trainer.global_step in (1000, 10_000):
                held.append(tracemalloc.get_traced_memory()[0])

    batch = torch.ones(2, 4)
    trainer = with_bar(tmp_path)
    trainer.callbacks.append(Watch())
    try:
        trainer.fit(Model(NAMES), [batch] * 10_001)
    finally:
        tracemalloc.stop()
    assert held[1] - held[0] < 100_000  # ten bytes a step; a number kept of each metric would be sixty times that


class Watched(torch.autograd.Function):
    """The identity, as a node of the graph that Python can watch."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return grad


def test_a_logged_value_does_not_keep_the_graph():
    alive = []

    class Attached(Model):
        def training_step(self, batch, batch_idx):
            loss = Watched.apply(super().training_step(batch, batch_idx))
            self.log("loss", loss, on_step=True, on_epoch=True)
            self.graph = weakref.ref(loss.grad_fn)
            return loss

        def on_train_batch_end(self, outputs, batch, batch_idx):
            alive.append(self.graph() is not None)

    lean().fit(Attached(), [torch.ones(2, 4)] * 5)
    assert alive == [False] * 5
