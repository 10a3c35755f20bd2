import pickle

import pytest
import torch
from lt_accel import Fabric, FSDPStrategy, ModelParallelStrategy
from lt_interfaces import MisconfigurationException
from torch import nn
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.fsdp.wrap import ModuleWrapPolicy
from torch.distributed.tensor import DTensor
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

DATA = torch.arange(48.0).reshape(16, 3) / 48


def forked(function, *args, devices=2, **kwargs):
    """The function on forked processes, under FSDP unless told otherwise."""
    strategy = kwargs.pop("strategy", None) or FSDPStrategy(start_method="fork", **kwargs.pop("fsdp", {}))
    return Fabric(accelerator="cpu", devices=devices, strategy=strategy, **kwargs).launch(function, *args)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 1)
        self.scale = nn.Parameter(torch.ones(4))

    def forward(self, x):
        return self.second((self.first(x) * self.scale).relu())

    def training_step(self, batch, batch_idx):
        return {"loss": self(batch).float().pow(2).mean()}

    def validation_step(self, batch):
        return self(batch) * self.scale.sum()

    def encode(self, x):
        return self.first(x)


def full(tensor):
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def weights(module):
    return torch.cat([full(p.detach()).flatten() for p in module.parameters()])


def train(fabric, accumulate=1, clip=None, net=Net):
    """Five steps of AdamW on this rank's share of the data; the whole weights and the norms of the gradients."""
    model = net()
    model, optimizer = fabric.setup(model, torch.optim.AdamW(model.parameters(), lr=0.05))
    step = fabric.bind(model, "training_step")
    parts, _ = fabric.strategy.data_place
    batches = fabric.setup_dataloaders(DataLoader(DATA, batch_size=16 // parts // accumulate))
    norms = []
    for _ in range(5):
        for i, batch in enumerate(batches):
            last = i + 1 == accumulate
            with fabric.no_backward_sync(model, enabled=not last):
                fabric.backward(step(batch, i)["loss"] / accumulate)
        norms += [] if clip is None else [fabric.clip_gradients(model, optimizer, max_norm=clip)]
        optimizer.step()
        optimizer.zero_grad()
    return weights(model), torch.stack(norms) if norms else torch.zeros(1)


def alone(*args, **kwargs):
    return train(Fabric(accelerator="cpu", devices=1), *args, **kwargs)


@pytest.mark.parametrize(("accumulate", "clip"), [(1, None), (2, 0.1)])
def test_two_ranks_train_as_one_process_does(accumulate, clip):
    expected, norms = alone(accumulate, clip)
    got, got_norms = forked(train, accumulate, clip)
    torch.testing.assert_close(got, expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(got_norms, norms, atol=1e-6, rtol=0)
    assert not torch.equal(expected, weights(Net()))


def accumulated(fabric):
    """The gradients in the middle of a window, and at its end."""
    module = Net()
    model = fabric.setup(module)
    seen = []
    for i, part in enumerate(DATA.chunk(2)):
        with fabric.no_backward_sync(model, enabled=i == 0):
            fabric.backward(model(part.chunk(fabric.world_size)[fabric.global_rank]).pow(2).mean())
        grads = [full(p.grad) for p in module.parameters() if p.grad is not None]
        seen.append(torch.cat([g.flatten() for g in grads]) if grads else torch.zeros(0))
    return seen


def test_in_the_middle_of_a_window_the_gradients_are_where_a_checkpoint_finds_them():
    expected = accumulated(Fabric(accelerator="cpu", devices=1))
    torch.testing.assert_close(forked(accumulated), expected)
    middle, end = forked(accumulated, fsdp={"keeps_whole_gradients": True})
    assert middle.numel() == 0
    torch.testing.assert_close(end, expected[1])


def test_a_module_in_somebody_elses_ddp_is_refused_with_what_to_do():
    def main(fabric):
        with pytest.raises(MisconfigurationException, match="Pass the module in it"):
            fabric.setup(DistributedDataParallel(Net()))

    forked(main, devices=1)


def by_its_author(fabric):
    class Sharded(Net):
        def __init__(self):
            super().__init__()
            fully_shard(self.first)
            fully_shard(self)

    return train(fabric, net=Sharded)[0]


def test_a_module_that_somebody_else_has_sharded_trains_as_it_is():
    torch.testing.assert_close(forked(by_its_author), alone()[0], atol=1e-6, rtol=0)


PLAN = {"first": ColwiseParallel(), "second": RowwiseParallel()}


class Plain(Net):
    def __init__(self):
        super().__init__()
        del self.scale
        self.scale = 1.0

    def forward(self, x):
        return super().forward(x) * 1.0  # torch warns of a forward pass that returns a view


def tensor_parallel(module, mesh):
    return parallelize_module(module, mesh["tensor_parallel"], PLAN)


def in_two_dimensions(module, mesh):
    return fully_shard(tensor_parallel(module, mesh), mesh=mesh["data_parallel"])


@pytest.mark.parametrize("kind", ["hybrid", "two dimensions"])
def test_four_ranks_in_a_mesh_train_as_one_process_does(kind):
    expected, norms = alone(1, 0.1, Plain)
    if kind == "hybrid":
        strategy = FSDPStrategy(device_mesh=(2, 2), start_method="fork")
    else:
        strategy = ModelParallelStrategy(in_two_dimensions, 2, 2, start_method="fork")
    got, got_norms = forked(train, 1, 0.1, Plain, devices=4, strategy=strategy)
    torch.testing.assert_close(got, expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(got_norms, norms, atol=1e-6, rtol=0)


def test_ranks_that_share_one_part_of_the_data_count_as_one_in_a_sum():
    def main(fabric):
        part = fabric.strategy.data_place[1]
        return [fabric.all_reduce(torch.tensor(part + 1), op).item() for op in ("sum", "mean", "max")]

    strategy = ModelParallelStrategy(in_two_dimensions, 2, 2, start_method="fork")
    assert forked(main, devices=4, strategy=strategy) == [3, 1.5, 2]


def test_gradients_are_clipped_by_value_and_by_their_largest():
    def main(fabric):
        model = Net()
        model, optimizer = fabric.setup(model, torch.optim.SGD(model.parameters()))
        fabric.backward(model(DATA).sum())
        largest = fabric.clip_gradients(model, optimizer, max_norm=100.0, norm_type=float("inf")).item()
        fabric.clip_gradients(model, optimizer, clip_val=0.01)
        return largest, max(full(p.grad).abs().max().item() for p in model.parameters())

    expected = main(Fabric(accelerator="cpu", devices=1))
    assert forked(main) == pytest.approx(expected, rel=1e-6)
    assert expected[0] > 1


def dtypes(fabric):
    seen = {}
    model = Net()
    model.first.register_forward_hook(lambda m, args, out: seen.update(weight=m.weight.dtype, out=out.dtype))
    model, optimizer = fabric.setup(model, torch.optim.SGD(model.parameters(), lr=1.0))
    before = weights(model)
    fabric.backward(fabric.bind(model, "training_step")(DATA, 0)["loss"] * 1e-3)
    seen |= {"kept": model.first.weight.dtype, "grad": model.first.weight.grad.dtype}
    optimizer.step()
    return {k: str(v)[6:] for k, v in seen.items()}, torch.equal(before, weights(model))


@pytest.mark.parametrize(
    ("precision", "computed", "kept"),
    [
        ("32-true", "float32", "float32"),
        ("bf16-mixed", "bfloat16", "float32"),
        ("16-mixed", "float16", "float32"),
        ("bf16-true", "bfloat16", "bfloat16"),
    ],
)
def test_precision_says_what_is_gathered_and_what_is_kept(precision, computed, kept):
    seen, unchanged = forked(dtypes, precision=precision)
    assert seen == {"weight": computed, "out": computed, "kept": kept, "grad": kept}
    assert not unchanged


def test_a_step_with_infinite_gradients_on_one_rank_is_skipped_on_all():
    def main(fabric):
        model = Net()
        model, optimizer = fabric.setup(model, torch.optim.SGD(model.parameters(), lr=1.0))
        steps = []
        for bad in (True, False):
            loss = model(DATA * (float("inf") if bad and fabric.global_rank else 1.0)).pow(2).mean()
            fabric.backward(loss * 1e-3)
            steps.append(fabric.optimizer_step(optimizer))
            optimizer.zero_grad()
        return fabric.all_gather(torch.tensor(steps)).tolist()

    assert forked(main, precision="16-mixed") == [[False, True]] * 2


def save(fabric, folder):
    """One step, saved in full and in shards."""
    model = Net()
    model, optimizer = fabric.setup(model, torch.optim.AdamW(model.parameters(), lr=0.05))
    fabric.backward(model(DATA).mean())
    optimizer.step()
    state = {"model": model, "optimizer": optimizer, "step": 1}
    fabric.save(folder / "full.ckpt", state)
    fabric.strategy.saves_shards = True
    fabric.save(folder / "shards.ckpt", state)
    return weights(model)


def load(fabric, path):
    """Another step, from what was saved; all weights in the end, and those that were loaded."""
    model = Net()
    nn.init.zeros_(model.scale)
    model, optimizer = fabric.setup(model, torch.optim.AdamW(model.parameters(), lr=0.05))
    state = {"model": model, "optimizer": optimizer, "step": 0}
    assert fabric.load(path, state) == {}
    assert state["step"] == 1
    loaded = weights(model)
    fabric.backward(model(DATA).mean())
    optimizer.step()
    return loaded, weights(model)


def test_what_four_ranks_saved_continues_on_two_and_on_one(tmp_path):
    saved = forked(save, tmp_path, devices=4)
    one = Fabric(accelerator="cpu", devices=1)
    loaded, continued = load(one, tmp_path / "shards.ckpt")
    assert torch.equal(loaded, saved)
    for again in (
        load(one, tmp_path / "full.ckpt"),
        *(forked(load, tmp_path / f"{n}.ckpt") for n in ("full", "shards")),
    ):
        assert torch.equal(again[0], saved)
        torch.testing.assert_close(again[1], continued, atol=1e-6, rtol=0)
    plain = Net()
    plain.load_state_dict(torch.load(tmp_path / "full.ckpt", weights_only=True)["model"])
    assert torch.equal(weights(plain), saved)


def test_evaluation_sees_each_item_once_though_all_ranks_run_as_many_batches():
    def main(fabric):
        model = fabric.setup(Net())
        step = fabric.bind(model, "validation_step")
        loader = fabric.setup_dataloaders(DataLoader(torch.arange(5.0), batch_size=2), even=False)
        with torch.no_grad():
            sizes = [len(step(x[:, None].expand(-1, 3))) for x in loader]
            items = torch.cat(list(loader))
        return fabric.all_gather({"sizes": str(sizes), "items": str(items.tolist())})

    got = forked(main)
    assert got["sizes"] == ["[3]", "[2]"]
    assert got["items"] == ["[0.0, 2.0, 4.0]", "[1.0, 3.0]"]


def test_methods_run_as_the_step_does_once_they_are_marked():
    def main(fabric):
        model = fabric.setup(Net())
        with torch.no_grad(), pytest.raises(RuntimeError, match="mark_forward_method"):
            model.encode(DATA)
        model.mark_forward_method("encode")
        with torch.no_grad():
            return torch.equal(model.encode(DATA), Net().encode(DATA)), type(model.module).__name__

    assert forked(main) == (True, "Net")


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.blocks = nn.ModuleList([nn.Sequential(nn.Linear(4, 4), nn.ReLU()) for _ in range(2)])
        self.inner, self.outer = nn.Linear(3, 4, bias=False), nn.Linear(4, 3, bias=False)
        self.outer.weight = nn.Parameter(torch.randn(3, 4))
        self.tied = nn.Linear(4, 3, bias=False)
        self.tied.weight = self.outer.weight

    def forward(self, x):
        x = self.inner(x)
        for block in self.blocks:
            x = block(x)
        return self.outer(x) + self.tied(x)

    def training_step(self, batch, batch_idx):
        return {"loss": self(batch).float().pow(2).mean()}


def sharded_names(fabric):
    module = Tied()
    fabric.setup(module)
    return [name for name, m in module.named_modules() if isinstance(m, FSDPModule)]


@pytest.mark.parametrize(
    ("policy", "names"),
    [
        (None, ["blocks.0", "blocks.1", "inner"]),
        ({nn.Linear}, ["blocks.0.0", "blocks.1.0", "inner"]),
        (ModuleWrapPolicy({nn.Sequential}), ["blocks.0", "blocks.1"]),
    ],
)
def test_the_policy_says_what_is_gathered_as_one_and_tied_parts_stay_together(policy, names):
    assert forked(sharded_names, devices=1, fsdp={"auto_wrap_policy": policy}) == names


def test_tied_and_recomputed_parts_train_as_in_one_process():
    expected, _ = alone(net=Tied)
    got, _ = forked(train, 1, None, Tied, fsdp={"activation_checkpointing_policy": {nn.Sequential}})
    torch.testing.assert_close(got, expected, atol=1e-6, rtol=0)


class Adversaries(nn.Module):
    """Two optimizers by hand, each backward pass inside the step."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.maker, self.critic = nn.Linear(3, 3), nn.Linear(3, 1)

    def training_step(self, batch, engine, optimizers):
        for optimizer, made in zip(optimizers, (self.maker(batch), self.maker(batch).detach()), strict=True):
            optimizer.zero_grad()
            engine.backward(self.critic(made).pow(2).mean())
            engine.optimizer_step(optimizer)


def compete(engine):
    module = Adversaries()
    model = engine.setup(module)
    optimizers = [torch.optim.SGD(part.parameters(), lr=0.1) for part in (module.maker, module.critic)]
    step = engine.bind(model, "training_step")
    for _ in range(3):
        step(DATA.chunk(engine.world_size)[engine.global_rank], engine, optimizers)
    return weights(module)


def test_optimization_by_hand_inside_the_step_gives_what_one_process_gives():
    expected = compete(Fabric(accelerator="cpu", devices=1))
    torch.testing.assert_close(forked(compete), expected, atol=1e-6, rtol=0)


def test_a_module_made_empty_gets_values_that_differ_between_ranks_parts():
    def main(fabric):
        with fabric.init_module(empty_init=True):
            module = nn.Sequential(nn.Linear(64, 64), nn.LayerNorm(64))
        assert module[0].weight.is_meta
        fabric.setup(module)
        weight = full(module[0].weight)
        return weight.std().item(), torch.equal(weight[:32], weight[32:]), full(module[1].weight).unique().tolist()

    std, same, ones = forked(main)
    assert 0.06 < std < 0.08
    assert not same
    assert ones == [1.0]


def test_weights_that_differ_between_ranks_become_those_of_rank_zero():
    def main(fabric):
        module = nn.Linear(2, 2)
        with torch.no_grad():
            module.weight.fill_(fabric.global_rank)
        fabric.setup(module)
        return full(module.weight).sum().item()

    assert forked(main) == 0.0


def test_a_module_that_is_set_up_again_is_used_as_it_is():
    def main(fabric):
        module = Net()
        fabric.setup(module)
        model = fabric.setup(module)
        return model(DATA).shape[0]

    assert forked(main) == 16


def test_a_module_of_a_group_that_has_ended_is_refused():
    def main(fabric):
        module = Net()
        fabric.setup(module)
        fabric.teardown()
        fabric.launch()
        with pytest.raises(RuntimeError, match="has ended"):
            fabric.setup(module)

    forked(main, devices=1)


def test_an_optimizer_of_parameters_that_were_replaced_is_refused():
    def main(fabric):
        module = Net()
        optimizer = torch.optim.SGD(module.parameters())
        fabric.setup_module(module)
        with pytest.raises(RuntimeError, match="made before its module"):
            fabric.setup_optimizers(optimizer)

    forked(main, devices=1)


def test_a_module_that_does_not_distribute_itself_is_refused_with_what_to_do():
    def main(fabric):
        fabric.setup(Net())

    for function, words in (
        (lambda m, _: m, "No parameter of `Net`"),
        (tensor_parallel, "Nothing shares the gradients"),
    ):
        strategy = ModelParallelStrategy(function, 2, 1, start_method="fork")
        with pytest.raises(RuntimeError, match=words):
            forked(main, strategy=strategy)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: FSDPStrategy(state_dict_type="sharded_"), "Did you mean `sharded`"),
        (lambda: FSDPStrategy(sharding_strategy="NO_SHARD"), "ddp"),
        (lambda: FSDPStrategy(auto_wrap_policy=lambda module: True), "nonwrapped_numel"),
        (lambda: FSDPStrategy(reshard_after=1), "reshard_after_forward"),
        (lambda: ModelParallelStrategy(data_parallel_size=0), "at least 1"),
        (lambda: Fabric(accelerator="cpu", devices=2, strategy="fsdp_cpu_offload"), "nothing to do on the CPU"),
        (lambda: Fabric(accelerator="cpu", devices=2, strategy=FSDPStrategy(device_mesh=(2, 2))), "does not fit 2"),
        (lambda: Fabric(accelerator="cpu", devices=2, strategy=ModelParallelStrategy(None, 2, 2)), "a mesh of 2 x 2"),
    ],
)
def test_what_cannot_be_is_said_before_anything_starts(make, words):
    with pytest.raises((ValueError, TypeError, MisconfigurationException), match=words):
        make()


def test_a_strategy_can_be_sent_to_a_new_process():
    sent = pickle.loads(pickle.dumps(FSDPStrategy(auto_wrap_policy={nn.Linear}, start_method="spawn")))
    assert sent.start_method == "spawn"


@pytest.mark.gpu
@pytest.mark.parametrize("offload", [False, True])
def test_on_a_gpu_parts_are_there_or_in_the_cpus_memory(offload):
    fabric = Fabric(accelerator="gpu", devices=1, strategy=FSDPStrategy(cpu_offload=offload), precision="bf16-mixed")
    fabric.launch()
    model = Net()
    model, optimizer = fabric.setup(model, torch.optim.AdamW(model.parameters(), lr=0.05))
    loss = fabric.bind(model, "training_step")(DATA.cuda(), 0)["loss"]
    fabric.backward(loss)
    assert fabric.clip_gradients(model, optimizer, max_norm=0.1).isfinite()
    optimizer.step()
    assert {p.device.type for p in model.parameters()} == {"cpu" if offload else "cuda"}
    fabric.teardown()
