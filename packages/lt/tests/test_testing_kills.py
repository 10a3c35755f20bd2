"""A killed run goes on as if it had not been, or it is said what did not."""

import sys

import lt as L
import pytest
import torch
import torch.nn.functional as F
from lt.testing import kills_equal_no_kill
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs fork")


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


class Forgetful(Good):
    """Its loss depends on a number that no checkpoint has."""

    calls = 0

    def training_step(self, batch, batch_idx):
        self.calls += 1
        return super().training_step(batch, batch_idx) / self.calls


@pytest.mark.slow
def test_killed_runs_equal_one_in_peace(tmp_path):
    kills_equal_no_kill(Good, data, kills=3, folder=tmp_path)


@pytest.mark.slow
def test_state_that_no_checkpoint_has_is_found(tmp_path):
    with pytest.raises(AssertionError, match=r"(?s)After 4 kills, . runs differ .*: weights"):
        kills_equal_no_kill(Forgetful, data, kills=4, folder=tmp_path, max_epochs=3)
