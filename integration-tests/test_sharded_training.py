"""The trainer over modules of which each process holds a part: same weights, checkpoints that go on anywhere."""

import lt_checkpoint
import pytest
import torch
from lt.callbacks import ModelCheckpoint
from lt_accel import Fabric, FSDPStrategy, ModelParallelStrategy
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
