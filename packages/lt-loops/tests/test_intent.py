"""What a run takes over from a checkpoint, what it changes, and that later checkpoints tell of it."""

import lt_checkpoint
import pytest
import torch
import torch.nn.functional as F
from lt_interfaces import ModuleHooks
from lt_loops import Resume, Trainer
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader, TensorDataset

X = torch.randn(32, 4, generator=torch.Generator().manual_seed(1))
LOADER = DataLoader(TensorDataset(X), 8)


class Net(ModuleHooks, nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def training_step(self, batch, batch_idx):
        return F.mse_loss(self.layer(batch[0]), torch.zeros(len(batch[0]), 2))

    def configure_optimizers(self):
        optimizer = SGD(self.parameters(), 0.1, momentum=0.9)
        return [optimizer], [StepLR(optimizer, 1, 0.5)]


def fit(epochs=1, **kwargs):
    trainer = Trainer(max_epochs=epochs)
    trainer.fit(Net(), LOADER, **kwargs)
    return trainer


@pytest.fixture
def path():
    fit().save_checkpoint("one.ckpt")
    return "one.ckpt"


def test_weights_alone_start_a_new_training(path):
    trainer = Trainer(max_steps=1)
    seen = []
    net = Net()
    net.on_train_start = lambda: seen.append((trainer.global_step, net.layer.weight.clone()))
    trainer.fit(net, LOADER, ckpt_path=Resume(path, weights_only=True))
    assert seen[0][0] == 0
    assert torch.equal(seen[0][1], lt_checkpoint.load(path)["state_dict"]["layer.weight"])
    assert trainer.optimizers[0].param_groups[0]["lr"] == 0.1


def test_an_overridden_rate_wins_and_its_scheduler_goes_on_from_it(path):
    trainer = fit(2, ckpt_path=Resume(path, override={"optimizer.lr": 1.0, "optimizer.0.momentum": 0.5}))
    group = trainer.optimizers[0].param_groups[0]
    assert (group["lr"], group["momentum"], trainer.global_step) == (0.5, 0.5, 8)
    assert trainer.lr_scheduler_configs[0].scheduler.base_lrs == [pytest.approx(2.0)]


def test_checkpoints_tell_of_each_start(path):
    fit(2, ckpt_path=Resume(path, override={"optimizer.lr": 1.0})).save_checkpoint("two.ckpt")
    fit(3, ckpt_path="two.ckpt").save_checkpoint("three.ckpt")
    first, second = lt_checkpoint.load("three.ckpt")["lt"]["history"]
    assert first == {"path": path, "step": 4, "weights_only": False, "override": {"optimizer.lr": 1.0}}
    assert second["path"] == "two.ckpt"
    assert second["override"] == {}


@pytest.mark.parametrize("name", ["lr", "optimizer", "optimizer.x.lr", "trainer.max_epochs"])
def test_what_no_checkpoint_has_cannot_be_overridden(name):
    with pytest.raises(ValueError, match="names nothing in a checkpoint"):
        Resume("x.ckpt", override={name: 1})


def test_a_misspelt_option_is_told_with_the_nearest(path):
    with pytest.raises(ValueError, match="Did you mean `momentum`"):
        fit(2, ckpt_path=Resume(path, override={"optimizer.momentun": 1.0}))
