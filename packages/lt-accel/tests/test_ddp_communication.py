"""What DDP exchanges: how often, in what form, and what it says when a step breaks its rules."""

import pickle
from collections import Counter

import pytest
import torch
from lt_accel import DDPStrategy, Fabric, HalfPrecision, Precision
from lt_interfaces import MisconfigurationException
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import (
    allreduce_hook,
    fp16_compress_hook,
    fp16_compress_wrapper,
)
from torch.distributed.algorithms.ddp_comm_hooks.post_localSGD_hook import PostLocalSGDState, post_localSGD_hook
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel
from torch.profiler import ProfilerActivity, profile

DATA = torch.arange(48.0).reshape(16, 3) / 48


def forked(function, *args, devices=2, **kwargs):
    return Fabric(
        accelerator="cpu", devices=devices, strategy=DDPStrategy(start_method="fork", **kwargs)
    ).launch(function, *args)  # fmt: skip


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 1)

    def forward(self, x, whole=True):
        x = self.first(x).relu()
        return self.second(x) if whole else x

    def training_step(self, batch):
        return self(batch).pow(2).mean()


def weights(module):
    return torch.cat([p.detach().flatten() for p in module.parameters()])


def steps(fabric, number=4, module=None):
    """Weights after each step, of all ranks; each rank has its half of the data."""
    module = module or Net()
    model, optimizer = fabric.setup(module, torch.optim.SGD(module.parameters(), lr=0.5))
    seen = []
    for _ in range(number):
        optimizer.zero_grad()
        part = DATA.chunk(fabric.world_size)[fabric.global_rank]
        fabric.backward(model(part).pow(2).mean())
        optimizer.step()
        seen.append(fabric.all_gather(weights(model)))
    return torch.stack(seen)


def alone(**kwargs):
    return steps(Fabric(accelerator="cpu", devices=1), **kwargs)


def power_sgd():
    pytest.importorskip("numpy", reason="torch's PowerSGD needs numpy")
    from torch.distributed.algorithms.ddp_comm_hooks import powerSGD_hook

    state = powerSGD_hook.PowerSGDState(None, matrix_approximation_rank=4, start_powerSGD_iter=2)
    return {"ddp_comm_state": state, "ddp_comm_hook": powerSGD_hook.powerSGD_hook}


@pytest.mark.parametrize(
    ("options", "tolerance"),
    [
        (lambda: {"ddp_comm_hook": fp16_compress_hook}, 1e-3),  # torch refuses bf16 hooks without a GPU
        (lambda: {"ddp_comm_hook": allreduce_hook, "ddp_comm_wrapper": fp16_compress_wrapper}, 1e-3),
        (power_sgd, 1e-2),
        (lambda: {"static_graph": True}, 1e-6),
        (lambda: {"gradient_as_bucket_view": True}, 1e-6),
    ],
)
def test_hooks_and_options_of_torch_change_how_gradients_travel_not_where_they_lead(options, tolerance):
    got = forked(steps, **options())[-1]
    assert torch.equal(got[0], got[1])
    torch.testing.assert_close(got[0], alone()[-1], atol=tolerance, rtol=tolerance)


def test_after_local_steps_the_ranks_differ_until_their_weights_are_averaged():
    state = PostLocalSGDState(None, None, start_localSGD_iter=2, post_local_gradient_allreduce=False)
    options = {"ddp_comm_state": state, "ddp_comm_hook": post_localSGD_hook, "model_averaging_period": 3}
    got = forked(steps, 9, **options)
    alike = [torch.equal(*ranks) for ranks in got]
    assert alike == [True, True, True, False, False, True, False, False, True]
    torch.testing.assert_close(got[1][0], alone(number=2)[-1])


@pytest.mark.parametrize(
    "options",
    [
        {"model_averaging_period": 2},
        {"ddp_comm_state": PostLocalSGDState(None, None, 1), "ddp_comm_hook": post_localSGD_hook},
        {"ddp_comm_state": PostLocalSGDState(None, None, 1), "model_averaging_period": 0},
    ],
)
def test_local_steps_and_the_period_of_their_averages_go_together(options):
    with pytest.raises(ValueError, match="model_averaging_period"):
        DDPStrategy(**options)


def test_a_strategy_of_local_steps_can_be_sent_to_a_new_process():
    state = PostLocalSGDState(None, None, start_localSGD_iter=2)
    sent = pickle.loads(pickle.dumps(DDPStrategy(ddp_comm_state=state, model_averaging_period=3)))
    assert sent.dtypes(Precision()) == (torch.float32, torch.float32)


def exchanges(fabric, accumulate):
    """Names and numbers of what was exchanged in two windows."""
    module = Net()
    model, optimizer = fabric.setup(module, torch.optim.SGD(module.parameters(), lr=0.5))

    def window():
        for i in range(accumulate):
            with fabric.no_backward_sync(model, enabled=i + 1 < accumulate):
                fabric.backward(model(DATA).pow(2).mean())
        optimizer.step()
        optimizer.zero_grad()

    for _ in range(3):
        window()
    fabric.barrier()
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        window()
        window()
    return Counter(event.name for event in seen.events() if event.name.startswith("gloo:"))


@pytest.mark.parametrize("accumulate", [1, 4])
def test_a_window_exchanges_its_gradients_once_and_nothing_else(accumulate):
    assert forked(exchanges, accumulate) == {"gloo:all_reduce": 2}


def uses(fabric, *wholes):
    module = Net()
    model, optimizer = fabric.setup(module, torch.optim.SGD(module.parameters(), lr=0.5))
    for whole in wholes:
        optimizer.zero_grad()
        fabric.backward(model(DATA, whole).pow(2).mean())
        optimizer.step()
    return "done"


@pytest.mark.parametrize(
    ("options", "wholes", "words"),
    [
        ({}, (False,), r"2 of 4 parameters \(`second.weight`, `second.bias`\).*ddp_find_unused_parameters_true"),
        ({}, (True, False, True), r"`second.weight`, `second.bias`.*ddp_find_unused_parameters_true"),
        ({"static_graph": True}, (True, False, True), r"`second.weight`, `second.bias`.*Leave it out"),
    ],
)
def test_parameters_without_gradients_are_named_with_the_switch(options, wholes, words):
    with pytest.raises(RuntimeError, match=words):
        forked(uses, *wholes, **options)


def test_an_error_of_the_steps_own_comes_as_it_is():
    def main(fabric):
        model = fabric.setup(Net())
        with pytest.raises(RuntimeError, match="cannot be multiplied") as told:
            model(torch.ones(1, 7))
        return told.value.__cause__ is None

    assert forked(main, devices=1)


def test_with_the_switch_they_may_come_and_go():
    assert forked(uses, True, False, True, find_unused_parameters=True) == "done"


class Wrapped:
    """Somebody else's program, which has wrapped the module before Fabric sees it."""

    @staticmethod
    def by_ddp(fabric, compiled=False):
        net = Net()
        ddp = DistributedDataParallel(torch.compile(net, backend="eager") if compiled else net)
        trained = steps(fabric, module=ddp)[-1]
        model = fabric.setup(DistributedDataParallel(Net()))
        step = fabric.bind(model, "training_step")
        fabric.backward(step(DATA * (fabric.global_rank + 1)))
        return trained, list(model.state_dict()), fabric.all_gather(model.first.weight.grad)

    @staticmethod
    def by_ddp_and_compiled(fabric):
        fabric.setup(torch.compile(DistributedDataParallel(Net()), backend="eager"))

    @staticmethod
    def by_ddp_and_cast(fabric):
        fabric.precision = HalfPrecision("bf16-true")
        fabric.setup(DistributedDataParallel(Net()))

    @staticmethod
    def by_fully_shard(fabric):
        module = Net()
        fully_shard(module)
        fabric.setup(module)


@pytest.mark.parametrize("compiled", [False, True])
def test_a_module_in_somebody_elses_ddp_trains_in_it_with_its_own_names(compiled):
    trained, names, gradients = forked(Wrapped.by_ddp, compiled)
    assert names == ["first.weight", "first.bias", "second.weight", "second.bias"]
    assert torch.equal(*trained)
    torch.testing.assert_close(trained[0], alone()[-1])
    assert torch.equal(*gradients)


@pytest.mark.parametrize(
    ("program", "error", "words"),
    [
        (Wrapped.by_fully_shard, MisconfigurationException, "distributed already.*strategy='fsdp'"),
        (Wrapped.by_ddp_and_cast, MisconfigurationException, "Pass the module in it"),
        (Wrapped.by_ddp_and_compiled, ValueError, "Compile the module first"),
    ],
)
def test_what_cannot_be_looked_into_is_refused_with_what_to_do(program, error, words):
    with pytest.raises((error, RuntimeError), match=words):
        forked(program)
