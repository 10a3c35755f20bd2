import inspect
from collections import OrderedDict
from typing import TYPE_CHECKING

import pytest
import torch
from lt_accel import Fabric, LightningEnvironment, Precision, is_wrapped
from lt_checkpoint import AsyncCheckpointIO, CheckpointIO
from lt_interfaces import Engine, MisconfigurationException
from torch import nn

if TYPE_CHECKING:
    ENGINE: Engine = Fabric()


def fabric(**kwargs):
    return Fabric(accelerator="cpu", devices=1, **kwargs)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 1)
        self.scale = 2

    def forward(self, x):
        return self.layer(x)

    def training_step(self, batch):
        return self(batch).mean()


def train(steps, model, optimizer, backward):
    torch.manual_seed(1)
    for _ in range(steps):
        optimizer.zero_grad()
        backward(model(torch.randn(4, 3)).pow(2).mean())
        optimizer.step()


def test_fabric_has_every_member_of_an_engine():
    made = fabric()
    names = [n for n in vars(Engine) if not n.startswith("_")] + list(Engine.__annotations__)
    assert [n for n in names if not hasattr(made, n)] == []
    for name in names:
        if inspect.isfunction(vars(Engine).get(name)):
            wanted = list(inspect.signature(vars(Engine)[name]).parameters)[1:]
            assert wanted == [p for p in inspect.signature(getattr(made, name)).parameters if p in wanted], name


def test_a_loop_gives_the_weights_of_the_bare_loop_bit_for_bit():
    torch.manual_seed(0)
    bare, ours = Net(), Net()
    ours.load_state_dict(bare.state_dict())
    train(5, bare, torch.optim.AdamW(bare.parameters()), lambda loss: loss.backward())
    engine = fabric()
    model, optimizer = engine.setup(ours, torch.optim.AdamW(ours.parameters()))
    train(5, model, optimizer, engine.backward)
    assert torch.equal(bare.layer.weight, ours.layer.weight)


def test_in_full_precision_a_bound_method_is_the_methods_own():
    engine, net = fabric(), Net()
    model = engine.setup_module(net)
    assert engine.bind(model, "training_step") == net.training_step
    assert engine.bind(net, "training_step") == net.training_step


def test_the_wrapped_module_reads_and_writes_as_the_users():
    net = Net()
    model = fabric().setup(net)
    model.scale = 3
    assert (net.scale, model.layer is net.layer, model.module is net) == (3, True, True)
    assert list(model.state_dict()) == [n for n, _ in model.named_parameters()] == ["layer.weight", "layer.bias"]
    model.eval()
    assert not net.training


def test_the_wrapped_optimizer_is_one_and_works_with_a_scheduler():
    net = Net()
    optimizer = fabric().setup_optimizers(torch.optim.SGD(net.parameters(), lr=1.0))
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    optimizer.step()
    scheduler.step()
    assert isinstance(optimizer, torch.optim.SGD)
    assert optimizer.optimizer.param_groups[0]["lr"] == 0.5
    assert "param_groups" in optimizer.state_dict()


def test_the_optimizers_step_returns_the_loss_of_its_closure():
    net = Net()
    optimizer = fabric().setup_optimizers(torch.optim.LBFGS(net.parameters()))

    def closure():
        optimizer.zero_grad()
        loss = net(torch.ones(1, 3)).pow(2).sum()
        loss.backward()
        return loss

    before = closure().item()
    assert optimizer.step(closure).item() == before


def test_callbacks_hear_of_each_step_and_get_the_keywords_they_take():
    seen = []

    class Counter:
        def on_after_optimizer_step(self, strategy, optimizer):
            seen.append(type(optimizer).__name__)

        def on_done(self, epoch):
            seen.append(epoch)

    engine = fabric(callbacks=[Counter(), object()])
    engine.setup_optimizers(torch.optim.SGD(Net().parameters())).step()
    engine.call("on_done", epoch=3, other=4)
    assert seen == ["SGD", 3]


def test_what_is_set_up_twice_is_refused():
    engine = fabric()
    model, optimizer = engine.setup(Net(), torch.optim.SGD(Net().parameters()))
    assert is_wrapped(model)
    assert is_wrapped(optimizer)
    with pytest.raises(ValueError, match="set up already"):
        engine.setup(model)
    with pytest.raises(ValueError, match="set up already"):
        engine.setup_optimizers(optimizer)


def test_a_loader_that_needs_nothing_is_left_as_it_is():
    loader = torch.utils.data.DataLoader([1, 2])
    assert fabric().setup_dataloaders(loader) is loader


def test_state_is_saved_filtered_and_restored_in_place(tmp_path):
    engine, net, other = fabric(), Net(), Net()
    model, optimizer = engine.setup(net, torch.optim.AdamW(net.parameters()))
    train(1, model, optimizer, engine.backward)
    path = tmp_path / "run.ckpt"
    engine.save(path, {"model": model, "optimizer": optimizer, "step": 3, "extra": 1})
    fresh = torch.optim.AdamW(other.parameters())
    state = {"model": other, "optimizer": fresh, "step": 0}
    assert engine.load(path, state) == {"extra": 1}
    assert state["step"] == 3
    assert torch.equal(other.layer.weight, net.layer.weight)
    assert fresh.state_dict()["state"][0]["step"] == 1
    engine.save(path, {"model": model}, filter={"model": lambda name, value: "bias" in name})
    assert list(engine.load(path)["model"]) == ["layer.bias"]


def test_a_missing_key_of_a_checkpoint_is_named(tmp_path):
    engine = fabric()
    engine.save(tmp_path / "a", {"modle": 1})
    with pytest.raises(KeyError, match="Did you mean `modle`"):
        engine.load(tmp_path / "a", {"model": 0})
    assert engine.load(tmp_path / "a", {"model": 0}, strict=False) == {"modle": 1}


def test_a_plain_state_dict_is_loaded_raw(tmp_path):
    engine, one, two = fabric(), Net(), Net()
    engine.save(tmp_path / "a", OrderedDict(one.state_dict()))
    engine.load_raw(tmp_path / "a", two)
    assert torch.equal(one.layer.weight, two.layer.weight)


def test_with_one_rank_collectives_return_tensors_as_they_are_and_numbers_as_tensors():
    engine, tensor, data = fabric(), torch.ones(2), {"a": torch.ones(2), "b": 3, "c": "name"}
    for collective in (engine.all_reduce, engine.all_gather):
        assert collective(tensor) is tensor
        assert collective(data)["a"] is data["a"]
        assert collective(data)["b"].item() == 3
        assert collective(data)["c"] == "name"
    assert engine.broadcast(data) is data
    engine.barrier()


def test_gradients_are_clipped_by_norm_or_by_value():
    engine, net = fabric(), Net()
    optimizer = torch.optim.SGD(net.parameters())
    net(torch.full((1, 3), 100.0)).sum().backward()
    assert engine.clip_gradients(net, optimizer, max_norm=1.0) > 100
    assert net.layer.weight.grad.norm() <= 1.0
    assert engine.clip_gradients(net, optimizer, clip_val=0.01) is None
    assert net.layer.weight.grad.abs().max() <= 0.01
    with pytest.raises(ValueError, match="Pass one"):
        engine.clip_gradients(net, optimizer)
    with pytest.raises(ValueError, match="not negative, got -1"):
        engine.clip_gradients(net, optimizer, max_norm=-1)
    optimizer.zero_grad()
    assert engine.clip_gradients(net, optimizer, clip_val=1.0) is None


def test_modules_made_inside_have_the_precisions_dtype():
    engine = fabric(precision="bf16-true")
    before = torch.get_rng_state()
    with engine.init_module(empty_init=True):
        assert nn.Linear(2, 2).weight.dtype == torch.bfloat16
    assert torch.equal(torch.get_rng_state(), before)
    with engine.init_tensor():
        assert torch.zeros(1).dtype == torch.bfloat16
    assert torch.get_default_dtype() == torch.float32


def test_launch_passes_the_fabric_where_the_function_wants_it():
    engine = fabric()
    assert engine.launch(lambda fabric, lr=1: (fabric is engine, lr), 2) == (True, 2)
    assert engine.launch(lambda f, x: f is engine, 1)
    assert engine.launch(lambda x: x, 7) == 7
    assert engine.launch() is None


def test_a_subclass_runs_when_it_is_called():
    class Program(Fabric):
        def run(self, value):
            return self._launched, value

    assert Program(accelerator="cpu", devices=1).run(5) == (True, 5)


def test_a_compiled_module_runs_compiled_with_the_names_of_the_bare_one():
    net, calls = Net(), []

    def backend(graph, inputs):
        calls.append(graph)
        return graph.forward

    engine = fabric()
    model = engine.setup(torch.compile(net, backend=backend))
    engine.bind(model, "training_step")(torch.ones(2, 3))
    model(torch.ones(2, 3))
    assert len(calls) == 2
    assert list(model.state_dict()) == ["layer.weight", "layer.bias"]


def test_what_is_compiled_after_it_was_set_up_saves_the_bare_ones_names(tmp_path):
    engine, net, other = fabric(), Net(), Net()
    compiled = torch.compile(engine.setup(net), backend="eager")
    engine.backward(compiled(torch.ones(2, 3)).sum())
    with engine.no_backward_sync(compiled):
        assert engine.clip_gradients(compiled, None, max_norm=0.1) > 0
    engine.save(tmp_path / "a", {"model": compiled})
    assert list(engine.load(tmp_path / "a")["model"]) == ["layer.weight", "layer.bias"]
    state = {"model": torch.compile(engine.setup(other), backend="aot_eager")}
    engine.load(tmp_path / "a", state)
    assert torch.equal(other.layer.weight, net.layer.weight)
    assert torch.equal(state["model"](torch.ones(1, 3)), net(torch.ones(1, 3)))
    assert engine.bind(compiled, "training_step") == net.training_step
    with pytest.raises(ValueError, match="set up already"):
        engine.setup(compiled)


def test_a_module_around_a_set_up_one_loads_what_it_saves():
    engine, net = fabric(), Net()
    for around in (nn.Sequential(engine.setup(net)), torch.compile(engine.setup(net), backend="eager")):
        state = {name: torch.full_like(value, 2.0) for name, value in around.state_dict().items()}
        around.load_state_dict(state)
        assert net.layer.weight.unique().tolist() == [2.0]
        nn.init.zeros_(net.layer.weight)


def test_a_module_that_compiles_itself_in_place_keeps_its_names():
    engine = fabric()
    model = engine.setup(Net())
    model.compile(backend="eager")
    assert model(torch.ones(2, 3)).shape == (2, 1)
    assert list(model.state_dict()) == ["layer.weight", "layer.bias"]


def test_metrics_reach_all_loggers_as_numbers():
    class Memory:
        def __init__(self):
            self.records = []

        def log_metrics(self, metrics, step=None):
            self.records.append((metrics, step))

    engine = fabric(loggers=[Memory(), Memory()])
    engine.log("loss", torch.tensor(2.0), step=1)
    engine.log_dict({"a": 1})
    assert engine.logger.records == engine.loggers[1].records == [({"loss": 2.0}, 1), ({"a": 1}, None)]


def test_plugins_are_taken_by_what_they_are():
    class Own(Precision):
        precision = "own"

    assert fabric(plugins=[Own()]).precision.precision == "own"
    with pytest.raises(ValueError, match="Both"):
        fabric(plugins=Own(), precision=32)
    with pytest.raises(TypeError, match="plugins"):
        fabric(plugins=3)
    with pytest.raises(ValueError, match="Two plugins are precisions"):
        fabric(plugins=[Own(), Own()])
    with pytest.raises(ValueError, match="Two plugins say who started"):
        fabric(plugins=[LightningEnvironment(), LightningEnvironment()])


def test_a_plugin_says_where_checkpoints_go(tmp_path):
    behind = AsyncCheckpointIO()
    for where in (behind, CheckpointIO()):
        mine = fabric(plugins=[where])
        assert mine.checkpoint_io is where
        mine.save(tmp_path / "x.ckpt", {"step": 1})
        assert mine.load(tmp_path / "x.ckpt") == {"step": 1}
    assert fabric().checkpoint_io is not fabric().checkpoint_io
    with pytest.raises(ValueError, match="Two plugins"):
        fabric(plugins=[behind, CheckpointIO()])


def test_set_up_before_launch_is_refused_where_processes_are_missing():
    engine = Fabric(accelerator="cpu", devices=2, strategy="ddp")
    with pytest.raises(RuntimeError, match=r"Call `launch\(\)` first"):
        engine.setup(Net())
    with pytest.raises(RuntimeError, match=r"Call `launch\(\)` first"):
        engine.setup_dataloaders(torch.utils.data.DataLoader([1]))
    for collective in (engine.broadcast, engine.all_reduce, engine.all_gather, engine.barrier):
        with pytest.raises(RuntimeError, match=rf"`{collective.__name__}` was called .* Call `launch\(\)`"):
            collective("a")
    with pytest.raises(RuntimeError, match="`save` was called before"):
        engine.save("nowhere", {})


def test_one_process_can_be_a_group_and_leaves_nothing_behind():
    engine = Fabric(accelerator="cpu", devices=1, strategy="ddp")
    for _ in range(2):
        engine.launch()
        model = engine.setup(Net())
        engine.backward(model(torch.ones(1, 3)).sum())
        assert torch.equal(engine.all_gather(torch.ones(2)), torch.ones(1, 2))
        engine.teardown()
        assert not torch.distributed.is_initialized()
    assert model(torch.ones(1, 3)).shape == (1, 1)


def test_machines_and_devices_are_counted_from_one():
    for wrong in (0, None, "x", 1.5, True):
        with pytest.raises(ValueError, match=rf"`num_nodes` must be at least 1, got {wrong!r}"):
            Fabric(accelerator="cpu", num_nodes=wrong)
    assert Fabric(accelerator="cpu", num_nodes="1").strategy.num_nodes == 1
    with pytest.raises(MisconfigurationException, match="MASTER_ADDR"):
        Fabric(accelerator="cpu", devices=2, num_nodes=2)


@pytest.mark.gpu
def test_on_a_gpu_batches_and_modules_move_there():
    engine = Fabric(accelerator="gpu", devices=1, precision="16-mixed")
    net = Net()
    model, optimizer = engine.setup(net, torch.optim.AdamW(net.parameters(), fused=True))
    loader = engine.setup_dataloaders(torch.utils.data.DataLoader(torch.randn(8, 3), batch_size=4, pin_memory=True))
    for batch in loader:
        optimizer.zero_grad()
        engine.backward(model(batch).pow(2).mean())
        optimizer.step()
    assert net.layer.weight.device == engine.device == torch.device("cuda", 0)
