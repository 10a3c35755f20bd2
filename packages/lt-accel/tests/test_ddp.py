import pytest
import torch
from lt_accel import DDPStrategy, Fabric
from torch import nn
from torch.utils.data import DataLoader

DATA = torch.arange(48.0).reshape(16, 3) / 48


def forked(function, *args, strategy="ddp_fork", **kwargs):
    return Fabric(accelerator="cpu", devices=2, strategy=strategy, **kwargs).launch(function, *args)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 1)

    def forward(self, x):
        return self.second(self.first(x).relu())

    def training_step(self, batch, batch_idx):
        return {"loss": self(batch).pow(2).mean()}

    def encode(self, x):
        return self.first(x)


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def train(fabric, accumulate=1, bound=True):
    """A few steps on this fabric's share of the data; the weights of all ranks."""
    model = Net()
    model, optimizer = fabric.setup(model, torch.optim.SGD(model.parameters(), lr=0.5))
    step = fabric.bind(model, "training_step") if bound else lambda batch, _: {"loss": model(batch).pow(2).mean()}
    batches = fabric.setup_dataloaders(DataLoader(DATA, batch_size=8 // fabric.world_size // accumulate))
    for i, batch in enumerate(batches):
        last = (i + 1) % accumulate == 0
        with fabric.no_backward_sync(model, enabled=not last):
            fabric.backward(step(batch, i)["loss"] / accumulate)
        if last:
            fabric.optimizer_step(optimizer)
            optimizer.zero_grad()
    return fabric.all_gather(weights(model))


@pytest.mark.parametrize(("accumulate", "bound"), [(1, True), (1, False), (2, True)])
def test_two_ranks_train_as_one_process_does(accumulate, bound):
    alone = train(Fabric(accelerator="cpu", devices=1))
    both = forked(train, accumulate, bound)
    assert torch.equal(both[0], both[1])
    torch.testing.assert_close(both[0], alone)
    assert not torch.equal(alone, weights(Net()))


def test_scaled_and_bf16_gradients_are_shared_too():
    for precision in ("16-mixed", "bf16-mixed"):
        both = forked(train, precision=precision)
        assert torch.equal(both[0], both[1])
        assert not torch.equal(both[0], weights(Net()))


class Adversaries(nn.Module):
    """Two optimizers by hand: each backward pass reaches one half, inside the step."""

    def __init__(self, engine):
        super().__init__()
        torch.manual_seed(0)
        self.maker, self.critic, self.norm = nn.Linear(3, 3), nn.Linear(3, 1), nn.BatchNorm1d(3)
        self.engine = engine
        self.optimizers = [
            torch.optim.SGD([*self.maker.parameters(), *self.norm.parameters()], lr=0.1),
            torch.optim.SGD(self.critic.parameters(), lr=0.1),
        ]

    def training_step(self, batch):
        for parts, optimizer in ((1, self.optimizers[0]), (2, self.optimizers[1])):
            self.critic.requires_grad_(parts == 2)
            made = self.norm(self.maker(batch))
            optimizer.zero_grad()
            self.engine.backward(self.critic(made.detach() if parts == 2 else made).mean())
            self.engine.optimizer_step(optimizer)


def compete(engine):
    module = Adversaries(engine)
    model = engine.setup(module)
    step = engine.bind(model, "training_step")
    torch.manual_seed(engine.global_rank)
    for _ in range(3):
        step(torch.randn(4, 3))
    return engine.all_gather(weights(module))


def test_manual_optimization_of_halves_trains_or_names_them_and_the_remedy():
    both = forked(compete, strategy="ddp_fork_find_unused_parameters_true")
    assert torch.equal(both[0], both[1])
    with pytest.raises(RuntimeError, match=r"`critic.weight`, `critic.bias`.*ddp_find_unused_parameters_true"):
        forked(compete)


def test_a_method_that_would_not_share_gradients_is_refused_until_it_is_marked():
    def main(fabric):
        model = fabric.setup(Net())
        with torch.no_grad():
            model.encode(DATA)
        try:
            model.encode(DATA)
        except RuntimeError as error:
            message = str(error)
        model.second.requires_grad_(False)
        model = fabric.setup(model.module)
        model.mark_forward_method("encode")
        fabric.backward(model.encode(DATA * fabric.global_rank).sum())
        return message, fabric.all_gather(model.first.weight.grad)

    message, gradients = forked(main)
    assert "mark_forward_method('encode')" in message
    assert torch.equal(gradients[0], gradients[1])


def test_evaluation_exchanges_nothing_so_that_ranks_may_differ():
    def main(fabric):
        module = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
        module.validation_step = lambda x: module(x).sum()
        model = fabric.setup(module)
        with torch.no_grad():
            calls = [model(DATA) for _ in range(fabric.global_rank + 1)]
        step = fabric.bind(model, "validation_step")
        calls += [step(DATA) for _ in range(fabric.global_rank)]
        return fabric.all_gather(len(calls)).tolist()

    assert forked(main) == [1, 3]


def test_a_module_without_parameters_to_train_is_made_equal_and_not_wrapped():
    def main(fabric):
        module = nn.Linear(2, 1).requires_grad_(False)
        module.weight.fill_(fabric.global_rank)
        model = fabric.setup(module)
        return fabric.all_gather(module.weight).sum().item(), model._wrapped

    assert forked(main) == (0.0, None)


def test_collectives_take_numbers_tensors_and_objects_in_any_nesting():
    def main(fabric):
        rank = fabric.global_rank
        gathered = fabric.all_gather({"n": rank, "t": torch.full((2,), rank), "s": f"r{rank}"})
        reduced = [fabric.all_reduce([rank + 1.0, torch.tensor(rank)], op) for op in ("mean", "sum", "min", "max")]
        x = torch.full((1,), float(rank), requires_grad=True)
        (fabric.all_gather(x, sync_grads=True) ** 2).sum().backward()
        with fabric.rank_zero_first():
            pass
        return gathered, [[float(v) for v in r] for r in reduced], fabric.broadcast({"rank": rank}, src=1), x.grad

    gathered, reduced, sent, grad = forked(main)
    assert (gathered["n"].tolist(), gathered["t"].tolist(), gathered["s"]) == ([0, 1], [[0, 0], [1, 1]], ["r0", "r1"])
    assert reduced == [[1.5, 0.5], [3.0, 1.0], [1.0, 0.0], [2.0, 1.0]]
    assert (sent, grad.item()) == ({"rank": 1}, 0.0)


def test_a_checkpoint_is_written_once_and_a_failed_write_fails_everywhere(tmp_path):
    def main(fabric):
        fabric.save(tmp_path / "a.ckpt", {"rank": fabric.global_rank})
        try:
            fabric.save(tmp_path / "a.ckpt" / "below-a-file", {})
        except (OSError, RuntimeError) as error:
            kind = type(error).__name__
        return fabric.load(tmp_path / "a.ckpt"), fabric.all_gather(kind)

    loaded, kinds = forked(main)
    assert loaded == {"rank": 0}
    assert kinds[1] == "RuntimeError"
    assert kinds[0] != "RuntimeError"


def test_a_strategy_object_takes_ddps_own_arguments_and_hooks():
    from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import fp16_compress_hook

    strategy = DDPStrategy(start_method="fork", ddp_comm_hook=fp16_compress_hook, static_graph=True)
    both = forked(train, strategy=strategy)
    assert torch.equal(both[0], both[1])


def test_an_unknown_reduction_is_refused():
    with pytest.raises(RuntimeError, match="`reduce_op` must be"):
        forked(lambda fabric: fabric.all_reduce(1, "median"))
