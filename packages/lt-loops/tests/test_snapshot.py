"""What a snapshot puts back."""

import random
from collections import OrderedDict, deque

import pytest
import torch
from lt_loops import Snapshot
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Module(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
        self.register_buffer("count", torch.zeros(1), persistent=False)
        self.plain = torch.zeros(2)
        self.history = {"losses": [1.0], "last": deque([2.0])}
        self.draws = random.Random(1)


def test_weights_buffers_and_attributes_are_put_back_in_place():
    module = Module()
    weight, before = module.layer[0].weight, {k: v.clone() for k, v in module.state_dict().items()}
    snapshot = Snapshot(module)
    with torch.no_grad():
        weight.add_(1)
        module.count += 1
        module.plain += 1
    module.layer(torch.randn(4, 2)).sum().backward()
    module.layer.eval()
    module.history["losses"].append(3.0)
    module.history["last"].clear()
    module.extra = nn.Linear(1, 1)
    weight.requires_grad_(False)
    snapshot.restore()
    assert module.layer[0].weight is weight
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
    assert (module.count.item(), module.plain.tolist(), module.history["losses"]) == (0.0, [0.0, 0.0], [1.0])
    assert (list(module.history["last"]), module.layer.training, weight.requires_grad) == ([2.0], True, True)
    assert all(p.grad is None for p in module.parameters())
    assert not hasattr(module, "extra")


def test_gradients_that_were_there_come_back():
    module = nn.Linear(1, 1)
    module(torch.ones(1, 1)).sum().backward()
    gradient = module.weight.grad
    snapshot = Snapshot(module)
    module(torch.full((1, 1), 5.0)).sum().backward()
    module.weight.grad = None
    snapshot.restore()
    assert module.weight.grad is gradient
    assert gradient.item() == 1.0


@pytest.mark.parametrize("make", [torch.optim.Adam, lambda p: torch.optim.SGD(p, 0.1, momentum=0.9), torch.optim.LBFGS])
@pytest.mark.parametrize("steps", [0, 2])
def test_an_optimizer_goes_on_as_if_nothing_had_been(make, steps):
    outcomes = []
    for disturbed in (False, True):
        torch.manual_seed(0)
        module = nn.Linear(2, 1)
        optimizer = make(module.parameters())
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)

        def step(module=module, optimizer=optimizer, scheduler=scheduler):
            def closure():
                optimizer.zero_grad()
                loss = module(torch.ones(4, 2)).square().sum()
                loss.backward()
                return loss

            optimizer.step(closure)
            scheduler.step()

        for _ in range(steps):
            step()
        if disturbed:
            snapshot = Snapshot(module, optimizer, scheduler)
            step()
            step()
            snapshot.restore()
        step()
        outcomes.append((module.weight.tolist(), str(optimizer.state_dict()), scheduler.last_epoch))
    assert outcomes[0] == outcomes[1]


def test_generators_go_on_where_they_were_wherever_they_are_kept():
    module, own = Module(), torch.Generator().manual_seed(3)
    loader = DataLoader(TensorDataset(torch.arange(8)), shuffle=True, generator=own)

    def draws():
        return [torch.rand(1).item(), random.random(), module.draws.random(), *(int(b[0]) for b in loader)]

    snapshot = Snapshot(module, loader)
    first = draws()
    assert draws() != first
    snapshot.restore()
    assert draws() == first


def test_lazy_layers_are_lazy_again():
    module = nn.Sequential(nn.LazyLinear(3), nn.LazyBatchNorm1d())
    snapshot = Snapshot(module)
    torch.manual_seed(1)
    module(torch.ones(2, 5))
    snapshot.restore()
    assert module[0].has_uninitialized_params()
    assert type(module[0]) is nn.LazyLinear
    torch.manual_seed(1)
    module(torch.ones(2, 7))
    assert module[0].weight.shape == (3, 7)


def test_a_module_that_was_converted_has_its_type_again():
    module = nn.Linear(2, 2)
    snapshot, weight = Snapshot(module), module.weight.detach().clone()
    module.bfloat16()
    snapshot.restore()
    assert torch.equal(module.weight, weight)


def test_the_samples_of_a_dataset_are_not_copied():
    class Counts(TensorDataset):
        seen = 0

    dataset = Counts(torch.zeros(4))
    loader = DataLoader(dataset)
    snapshot = Snapshot(loader)
    dataset.tensors[0].add_(1)
    dataset.seen = 5
    snapshot.restore()
    assert dataset.seen == 0
    assert dataset.tensors[0].sum() == 4


def test_shared_and_expanded_tensors_and_cycles_are_no_trouble():
    module = nn.Linear(2, 2)
    module.tied, module.wide = module.weight, torch.zeros(1).expand(3)
    module.loop = OrderedDict(module=[module])
    module.loop["self"] = module.loop
    snapshot = Snapshot(module)
    before = module.weight.detach().clone()
    torch.nn.init.zeros_(module.tied)
    module.loop.clear()
    snapshot.restore()
    assert torch.equal(module.weight, before)
    assert module.loop["self"] is module.loop
