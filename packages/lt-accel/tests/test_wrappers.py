import copy

import pytest
import torch
from lt_accel import Fabric
from torch import nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import BatchSampler, DataLoader, DistributedSampler, Sampler

PRECISIONS = ("32-true", "bf16-mixed", "16-mixed", "bf16-true", "64-true")


def fabric(**kwargs):
    return Fabric(**{"accelerator": "cpu", "devices": 1} | kwargs)


def zeroed(module):
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


class Told(Sampler):
    """Tells which epochs it was told of."""

    def __init__(self):
        self.epochs = []

    def __iter__(self):
        return iter(range(4))

    def __len__(self):
        return 4

    def set_epoch(self, epoch):
        self.epochs.append(epoch)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_copy_of_a_set_up_module_computes_with_its_own_weights(precision):
    engine = fabric(precision=precision)
    model = engine.setup(nn.Linear(2, 1))
    target = zeroed(copy.deepcopy(model))
    x = torch.ones(1, 2)
    assert target(x).item() == 0
    assert model(x).item() != 0
    average = AveragedModel(model, avg_fn=lambda old, new, count: torch.zeros_like(old))
    average.update_parameters(model)
    average.update_parameters(model)
    assert average(x).item() == 0


def test_a_copy_of_a_module_under_ddp_computes_with_its_own_weights():
    engine = fabric(strategy="ddp")
    engine.launch()
    model = engine.setup(nn.Linear(2, 1))
    target = zeroed(copy.deepcopy(model))
    loss = target(torch.ones(1, 2)).sum()
    engine.backward(loss)
    assert loss.item() == 0
    assert target.weight.grad.tolist() == [[1, 1]]
    assert model.weight.grad is None
    engine.teardown()


def test_a_copy_of_a_compiled_module_computes_with_its_own_weights():
    model = fabric().setup(torch.compile(nn.Linear(2, 1), backend="eager"))
    assert zeroed(copy.deepcopy(model))(torch.ones(1, 2)).item() == 0


def test_a_model_and_its_optimizer_are_copied_together():
    net = nn.Linear(2, 1)
    pair = fabric().setup(net, torch.optim.SGD(net.parameters(), lr=1.0))
    model, optimizer = copy.deepcopy(pair)
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    assert torch.equal(pair[0].weight - 1, model.weight)
    assert isinstance(optimizer, torch.optim.SGD)


def test_samplers_are_told_the_epoch_with_one_process_as_with_several():
    told, within = Told(), Told()
    engine = fabric()
    loaders = engine.setup_dataloaders(
        DataLoader(range(4), sampler=told), DataLoader(range(4), batch_sampler=BatchSampler(within, 2, False))
    )
    for loader in loaders * 3:
        list(loader)
    assert told.epochs == within.epochs == [0, 1, 2]
    shuffled = engine.setup_dataloaders(DataLoader(range(64), sampler=DistributedSampler(range(64), 1, 0)))
    assert [int(x) for x in shuffled] != [int(x) for x in shuffled]


def test_a_set_up_module_says_its_device_and_dtype_unless_it_has_own_ones():
    net = nn.Linear(1, 1)
    model = fabric(precision="bf16-true").setup(net)
    assert (model.device, model.dtype) == (torch.device("cpu"), torch.bfloat16)
    net.dtype = "own"
    assert model.dtype == "own"


def test_what_is_no_optimizer_is_refused():
    engine, net = fabric(), nn.Linear(1, 1)
    for wrong in (3, [torch.optim.SGD(net.parameters())], net, net.parameters()):
        with pytest.raises(TypeError, match=f"An optimizer was expected, got a `{type(wrong).__name__}`. Pass"):
            engine.setup(net, wrong)


def test_what_cannot_replace_forward_is_refused():
    with pytest.raises(AttributeError, match="`Linear` has no method `3`"):
        fabric().setup(nn.Linear(1, 1)).mark_forward_method(3)
