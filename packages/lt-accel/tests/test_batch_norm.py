"""Batch norms that share their statistics, and the way back."""

import torch
from lt_accel import TorchSyncBatchNorm
from torch import nn


def test_batch_norms_are_shared_and_restored_with_the_same_tensors():
    module = nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.BatchNorm1d(3), nn.ReLU()))
    original, weight = module[1][0], module[1][0].weight
    sync = TorchSyncBatchNorm()
    sync.apply(module)
    assert isinstance(module[1][0], nn.SyncBatchNorm)
    assert module[1][0].weight is weight
    module[1][0].running_mean.add_(1)
    sync.revert(module)
    assert module[1][0] is original
    assert torch.equal(original.running_mean, torch.ones(3))
