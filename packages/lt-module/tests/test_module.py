import inspect
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from lt_interfaces import MODULE_HOOKS, MisconfigurationException, ModuleHooks, Recorder, is_overridden
from lt_module import LightningModule
from torch import nn


class Model(LightningModule):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(2, 2)
        self.b = nn.Linear(2, 2)


class Engine:
    def __init__(self):
        self.clipped, self.backwards = [], []

    def clip_gradients(self, module, optimizer, clip_val=None, max_norm=None):
        self.clipped.append((clip_val, max_norm))

    def backward(self, loss, *args, **kwargs):
        self.backwards.append((loss, args, kwargs))

    def all_gather(self, data, group=None, sync_grads=False):
        return torch.stack([data, data])


class Trainer(SimpleNamespace):
    def __init__(self, **attributes):
        super().__init__(engine=Engine(), recorder=self, logged=[], **attributes)

    def log(self, *args):
        self.logged.append(args)

    def manual_backward(self, loss, *args, **kwargs):
        self.engine.backward(loss, *args, **kwargs)


def attached(**attributes):
    model = Model()
    model.trainer = Trainer(**attributes)
    return model


def test_log_hands_everything_on_by_position_in_the_recorders_order():
    model = attached()
    names = list(inspect.signature(Recorder.log).parameters)[1:]
    assert list(inspect.signature(model.log).parameters) == names
    model.log(**{name: name for name in names})
    model.log("loss", 1)
    defaults = [p.default for p in inspect.signature(Recorder.log).parameters.values()][3:]
    assert model.trainer.logged == [tuple(names), ("loss", 1, *defaults)]


def test_log_dict_logs_each_entry_with_the_same_arguments():
    model = attached()
    model.log_dict({"x": 1, "y": 2}, prog_bar=True, batch_size=4)
    assert [(entry[:3], entry[11]) for entry in model.trainer.logged] == [(("x", 1, True), 4), (("y", 2, True), 4)]


def test_log_dict_goes_through_an_overridden_log():
    class Prefixed(Model):
        def log(self, name, value, **kwargs):
            super().log(f"train/{name}", value, **kwargs)

    model = Prefixed()
    model.trainer = Trainer()
    model.log_dict({"x": 1})
    assert model.trainer.logged[0][0] == "train/x"


def test_log_without_a_trainer_warns_once_where_it_was_called():
    model = Model()
    with pytest.warns(UserWarning, match=r"`self\.log\('loss', \.\.\.\)` records nothing") as caught:
        model.log("loss", 1)
    model.log("loss", 2)
    assert [warning.filename for warning in caught] == [__file__]


def test_log_under_a_fabric_goes_to_its_loggers():
    model, seen = Model(), []
    model.fabric = SimpleNamespace(log_dict=seen.append)
    model.log("loss", 1)
    assert seen == [{"loss": 1}]


def test_optimizers_come_alone_or_as_a_list():
    assert attached(lightning_optimizers=["w"], optimizers=["r"]).optimizers() == "w"
    assert attached(lightning_optimizers=["w"], optimizers=["r"]).optimizers(use_pl_optimizer=False) == "r"
    assert attached(lightning_optimizers=["w", "v"]).optimizers() == ["w", "v"]


def test_schedulers_come_alone_as_a_list_or_not_at_all():
    configs = [SimpleNamespace(scheduler="s"), SimpleNamespace(scheduler="t")]
    assert attached(lr_scheduler_configs=[]).lr_schedulers() is None
    assert attached(lr_scheduler_configs=configs[:1]).lr_schedulers() == "s"
    assert attached(lr_scheduler_configs=configs).lr_schedulers() == ["s", "t"]


def test_manual_backward_is_for_manual_optimization():
    model = attached()
    with pytest.raises(MisconfigurationException, match="automatic_optimization = False"):
        model.manual_backward(torch.tensor(1.0))
    model.automatic_optimization = False
    model.manual_backward("loss", 1, retain_graph=True)
    assert model.trainer.engine.backwards == [("loss", (1,), {"retain_graph": True})]


def test_manual_backward_under_a_fabric_is_the_fabrics():
    model = Model()
    model.fabric = Engine()
    model.manual_backward("loss")
    assert model.fabric.backwards == [("loss", (), {})]


def test_manual_backward_without_a_trainer_names_the_remedy():
    model = Model()
    model.automatic_optimization = False
    with pytest.raises(RuntimeError, match="not attached"):
        model.manual_backward(torch.tensor(1.0))


def trainable(model):
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def test_toggling_freezes_what_the_optimizer_does_not_own_and_gives_it_back():
    model = Model()
    model.b.bias.requires_grad_(False)
    before = trainable(model)
    first, second = torch.optim.SGD(model.a.parameters(), 0.1), torch.optim.SGD(model.b.parameters(), 0.1)
    with model.toggled_optimizer(first):
        assert trainable(model) == {"a.weight", "a.bias"}
        model.toggle_optimizer(second)
        assert trainable(model) == {"b.weight"}
    assert trainable(model) == before


def test_toggling_is_undone_by_an_error():
    model = Model()
    with pytest.raises(KeyError), model.toggled_optimizer(torch.optim.SGD(model.a.parameters(), 0.1)):
        raise KeyError
    assert len(trainable(model)) == 4


@pytest.mark.parametrize(
    ("given", "trainers", "clipped"),
    [
        ((0.5, None), {}, [(None, 0.5)]),
        ((0.5, "value"), {}, [(0.5, None)]),
        ((None, None), {"gradient_clip_val": 2.0, "gradient_clip_algorithm": "value"}, [(2.0, None)]),
        ((2.0, None), {"gradient_clip_val": 2.0}, [(None, 2.0)]),
        ((None, None), {"gradient_clip_val": None}, []),
        ((0, None), {}, []),
    ],
)
def test_clipping_takes_given_values_then_the_trainers(given, trainers, clipped):
    model = attached(**trainers)
    model.configure_gradient_clipping("optimizer", *given)
    assert model.trainer.engine.clipped == clipped


def test_clipping_refuses_contradictions_and_unknown_ways():
    with pytest.raises(MisconfigurationException, match=r"`gradient_clip_val=1\.0` contradicts"):
        attached(gradient_clip_val=2.0).clip_gradients("optimizer", 1.0)
    with pytest.raises(ValueError, match="Did you mean `value`"):
        attached().clip_gradients("optimizer", 1.0, "values")
    with pytest.raises(RuntimeError, match="not attached"):
        Model().clip_gradients("optimizer", 1.0)


def test_gathering_and_printing_work_alone_too(capsys):
    model, data = Model(), torch.ones(2)
    assert model.all_gather(data) is data
    model.print("hello", end="!")
    assert capsys.readouterr().out == "hello!"
    assert attached().all_gather(data).shape == (2, 2)


def test_freezing_and_unfreezing_return_the_module():
    model = Model()
    assert model.freeze() is model
    assert (trainable(model), model.training) == (set(), False)
    assert model.unfreeze() is model
    assert (len(trainable(model)), model.training) == (4, True)


def test_strict_loading_is_true_unless_set():
    model = Model()
    assert model.strict_loading is True
    model.strict_loading = False
    assert model.strict_loading is False
    model.strict_loading = None
    assert model.strict_loading is True


def test_every_default_is_marked_and_an_override_is_seen():
    class Overriding(LightningModule):
        def training_step(self, batch, batch_idx): ...
        def on_train_start(self): ...

    extra = "training_step predict_step configure_optimizers optimizer_step backward lr_scheduler_step val_dataloader"
    model = LightningModule()
    assert isinstance(model, ModuleHooks)
    assert not [name for name in (*MODULE_HOOKS, *extra.split()) if is_overridden(model, name)]
    assert is_overridden(Overriding(), "training_step")
    assert is_overridden(Overriding(), "on_train_start")


def test_attributes_can_be_set_before_and_after_init():
    class Early(LightningModule):
        def __init__(self):
            self.automatic_optimization = False
            super().__init__()
            self.example_input_array = torch.zeros(1)

    model = Early()
    assert not model.automatic_optimization
    assert LightningModule.automatic_optimization
    assert model.example_input_array.shape == (1,)
    assert not model.state_dict()


def test_importing_adds_no_heavy_module_over_torch():
    code = (
        "import torch, sys; before = set(sys.modules); import lt_module;"
        "print(*sorted({m.split('.')[0] for m in set(sys.modules) - before}));"
        "print(*[m for m in ('torch._dynamo', 'torch.onnx', 'yaml', 'numpy.f2py') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    own = {"lt_module", "lt_interfaces", "lt_checkpoint"}
    assert own <= set(out[0].split())
    assert all(name in own or name in sys.stdlib_module_names for name in out[0].split())
    assert out[1] == ""
