"""The trainer over modules of which each process holds a part: same weights, checkpoints that go on anywhere."""

import os
import random
import re
import signal
import time
from pathlib import Path

import lt_checkpoint
import pytest
import torch
from lt.callbacks import ModelCheckpoint
from lt_accel import Fabric, FSDPStrategy, ModelParallelStrategy
from lt_checkpoint import AsyncCheckpointIO, shard_writing
from lt_interfaces import Callback
from lt_loops import Trainer
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.utils.data import DataLoader

pytestmark = [
    pytest.mark.filterwarnings("ignore:The scores of the checkpoints"),  # each fit has a folder of its own
    pytest.mark.filterwarnings("ignore:The checkpoint is of"),  # another number of processes
]

DATA = torch.arange(48.0).reshape(16, 3) / 48
SAVED = {"dirpath": "checkpoints", "save_last": True, "monitor": "val", "filename": "{epoch}"}


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 1)

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=0.05)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.9)]

    def forward(self, x):
        return self.second(self.first(x).relu()) * 1.0

    def training_step(self, batch, batch_idx):
        return self(batch).pow(2).mean()

    def validation_step(self, batch, batch_idx):
        self.trainer.recorder.log("val", self(batch).pow(2).mean(), batch_size=len(batch), sync_dist=True)

    trainer = None


class Parallel(Net):
    def configure_model(self):
        plan = {"first": ColwiseParallel(), "second": RowwiseParallel()}
        parallelize_module(self, self.device_mesh["tensor_parallel"], plan)
        fully_shard(self, mesh=self.device_mesh["data_parallel"])


def fit(folder, epochs, net=Net, ckpt_path=None, devices=1, strategy="auto", parts=1):
    """Fit in `folder` and return the last checkpoint and the value that was watched."""
    engine = Fabric(accelerator="cpu", devices=devices, strategy=strategy)
    trainer = Trainer(
        engine=engine,
        callbacks=[ModelCheckpoint(**SAVED | {"dirpath": folder})],
        max_epochs=epochs,
        default_root_dir=folder,
        gradient_clip_val=0.1,
        accumulate_grad_batches=2,
        num_sanity_val_steps=0,
    )
    loader, validation = DataLoader(DATA, batch_size=4 // parts), DataLoader(DATA[:5], batch_size=2)
    trainer.fit(net(), loader, validation, ckpt_path=ckpt_path)
    return lt_checkpoint.load(folder / "last.ckpt")


def close(one, other):
    for name, weight in one["state_dict"].items():
        torch.testing.assert_close(other["state_dict"][name], weight, atol=1e-6, rtol=0)
    [mine], [theirs] = one["optimizer_states"], other["optimizer_states"]
    for i, state in mine["state"].items():
        torch.testing.assert_close(theirs["state"][i]["exp_avg"], state["exp_avg"], atol=1e-6, rtol=0)
    assert other["global_step"] == one["global_step"]
    watched = [next(s for k, s in c["callbacks"].items() if "ModelCheckpoint" in k) for c in (one, other)]
    assert watched[0]["best_model_score"] == pytest.approx(float(watched[1]["best_model_score"]), abs=1e-6)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return fit(tmp_path_factory.mktemp("alone"), 3)


@pytest.mark.parametrize("kind", ["full", "sharded"])
def test_two_epochs_on_two_ranks_and_one_more_on_one_are_three_of_one_process(kind, tmp_path, alone):
    def strategy():
        return FSDPStrategy(state_dict_type=kind, start_method="fork")

    fit(tmp_path, 2, devices=2, strategy=strategy(), parts=2)
    last = tmp_path / "last.ckpt"
    assert last.is_dir() == (kind == "sharded")
    close(alone, fit(tmp_path / "one", 3, ckpt_path=last))
    close(alone, fit(tmp_path / "two", 3, ckpt_path=last, devices=2, strategy=strategy(), parts=2))


def test_a_module_that_distributes_itself_over_a_mesh_trains_and_resumes(tmp_path, alone):
    for epochs, ckpt_path in ((2, None), (3, tmp_path / "2" / "last.ckpt")):
        strategy = ModelParallelStrategy(None, 2, 2, start_method="fork")
        got = fit(tmp_path / str(epochs), epochs, Parallel, ckpt_path, devices=4, strategy=strategy, parts=2)
    assert (tmp_path / "3" / "last.ckpt").is_dir()
    close(alone, got)
    close(alone, fit(tmp_path / "one", 3, ckpt_path=tmp_path / "2" / "last.ckpt"))


class Telling(Callback):
    """Sends a byte for each step."""

    def __init__(self, pipe):
        self.pipe = pipe

    def on_train_batch_end(self, trainer, *_):
        if trainer.is_global_zero:
            os.write(self.pipe, b".")


class Dropping(Net):
    def forward(self, x):
        return super().forward(nn.functional.dropout(x, 0.2))


def train_from_the_newest(folder, callback, epochs):
    """On two ranks, saving in the background after every step."""
    strategy = FSDPStrategy(state_dict_type="sharded", start_method="fork")
    engine = Fabric(accelerator="cpu", devices=2, strategy=strategy, plugins=AsyncCheckpointIO())
    keep = ModelCheckpoint(folder, every_n_train_steps=1)
    trainer = Trainer(engine=engine, callbacks=[keep, callback], max_epochs=epochs, default_root_dir=folder)
    found = lt_checkpoint.newest(folder)
    if found:
        lt_checkpoint.verify(found[0])
    trainer.fit(Dropping(), DataLoader(DATA, 1, shuffle=True), ckpt_path=found[0] if found else None)


def steps_until_its_end(folder, epochs, kill_after=None, seconds=0.0):
    """The steps that a run made before it ended, or was killed with all its processes."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        os.setsid()
        try:
            torch.set_num_threads(1)
            torch.manual_seed(3)
            train_from_the_newest(folder, Telling(writer), epochs)
            os._exit(0)
        finally:
            os._exit(1)
    os.close(writer)
    steps = 0
    while os.read(reader, 1):  # nothing more comes when the last process has gone
        steps += 1
        if steps == kill_after:
            time.sleep(seconds)
            os.killpg(pid, signal.SIGKILL)
    os.close(reader)
    assert os.waitpid(pid, 0)[1] in (0, signal.SIGKILL)
    return steps


def killed_runs_equal_one_in_peace(folder, kills, epochs, seed=7):
    chance = random.Random(seed)
    steps_until_its_end(folder / "peace", epochs)
    for _ in range(kills):
        steps_until_its_end(folder / "killed", epochs, chance.randint(2, 6), chance.uniform(0, 0.1))
    steps_until_its_end(folder / "killed", epochs)
    one, other = ([lt_checkpoint.load(path) for path in lt_checkpoint.newest(folder / n)] for n in ("peace", "killed"))
    assert one[0]["global_step"] == 8 * epochs
    for key in ("global_step", "state_dict", "optimizer_states", "lr_schedulers"):
        assert str(one[0][key]) == str(other[0][key])
    for name, weight in one[0]["state_dict"].items():
        assert torch.equal(weight, other[0]["state_dict"][name])


def test_runs_killed_while_all_ranks_save_in_the_background_end_as_one_in_peace(tmp_path):
    killed_runs_equal_one_in_peace(tmp_path, kills=3, epochs=3)


class Failing(Callback):
    """From step 3 on rank 1 cannot write; each rank goes into step 4 when it knows, and says what it ends with."""

    def on_train_batch_start(self, trainer, *_):
        if (trainer.global_step, trainer.global_rank) == (2, 1):
            trainer.engine.checkpoint_io.flush()
            shard_writing.write_archive = self.fail
        while trainer.global_step == 3 and trainer.stop_signal is None:
            time.sleep(0.001)

    def on_exception(self, trainer, pl_module, exception):
        Path(trainer.default_root_dir, f"rank {trainer.global_rank}").write_text(f"{trainer.global_step}: {exception}")

    def fail(self, *_):
        raise OSError("the disk is gone")


def test_a_save_that_fails_on_one_rank_ends_training_on_all_within_a_step_and_the_one_before_stays(tmp_path):
    with pytest.raises(RuntimeError, match="the disk is gone"):
        train_from_the_newest(tmp_path, Failing(), epochs=2)
    for rank in (0, 1):
        assert re.fullmatch("4: .*the disk is gone", (tmp_path / f"rank {rank}").read_text())
    assert [path.name for path in lt_checkpoint.newest(tmp_path)] == ["epoch=0-step=2.ckpt"]
