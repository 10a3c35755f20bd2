"""Two processes train as one does, or it is said at which step and in which tensor they do not."""

import lt as L
import pytest
import torch
import torch.nn.functional as F
from lt.testing import processes_equal_one
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Good(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 1))

    def training_step(self, batch, batch_idx):
        return F.mse_loss(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), 0.02)


def data():
    x = torch.randn(44, 4, generator=torch.Generator().manual_seed(3))
    return DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), 4, shuffle=True)


class RankNoise(Good):
    def training_step(self, batch, batch_idx):
        return super().training_step(batch, batch_idx) * (1 + self.global_rank)


class Drifting(Good):
    """Each rank changes a weight of its own accord."""

    def on_train_batch_end(self, outputs, batch, batch_idx):
        with torch.no_grad():
            self.net[3].bias += self.global_rank


@pytest.mark.slow
def test_two_processes_equal_one():
    processes_equal_one(Good, data, steps=2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("broken", "what"),
    [
        (RankNoise, "at step 1, the loss: "),
        (Drifting, r"at step 2, as ranks 0 and 1 differ in the weights of `net\.3\.bias`"),
    ],
)
def test_a_step_that_depends_on_the_rank_is_found(broken, what):
    with pytest.raises(AssertionError, match=what):
        processes_equal_one(broken, data, steps=3)


def test_functions_that_no_other_process_can_import_are_refused():
    with pytest.raises(ValueError, match=r"cannot import .*lambda.*from the top of a file"):
        processes_equal_one(lambda: Good(), data)


def test_flags_that_json_cannot_hold_are_refused():
    with pytest.raises(TypeError, match=r"flags as JSON.*configure_callbacks"):
        processes_equal_one(Good, data, plugins=[object()])
