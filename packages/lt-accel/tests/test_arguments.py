import pytest
import torch
from lt_accel import DDPStrategy, Fabric, HalfPrecision, MixedPrecision, SingleDeviceStrategy
from torch import nn
from torch.utils.data import DataLoader


def fabric(**kwargs):
    return Fabric(accelerator="cpu", devices=1, **kwargs)


class Silent:
    def log_metrics(self, metrics, step=None):
        raise AssertionError("no record was to come")


def test_loggers_are_objects_that_take_records():
    with pytest.raises(TypeError, match="`loggers` takes objects with a method `log_metrics`, got 'csv'"):
        fabric(loggers="csv")


def test_what_is_no_number_is_not_logged_and_named():
    with pytest.raises(ValueError, match=r"logged as 'rate' is a tensor of shape \(2,\). Log one number"):
        fabric(loggers=Silent()).log_dict({"rate": torch.ones(2)})


def test_loaders_come_one_by_one():
    for wrong in (3, None, [DataLoader([1])]):
        with pytest.raises(TypeError, match=f"each as an argument of its own, got a `{type(wrong).__name__}`"):
            fabric().setup_dataloaders(wrong)
    assert fabric().setup_dataloaders([1, 2]) == [1, 2]


def test_a_state_is_a_dict(tmp_path):
    engine, net = fabric(), nn.Linear(1, 1)
    for wrong in (net, [net], "model"):
        with pytest.raises(TypeError, match=f"`state` must be a dict, got a `{type(wrong).__name__}`"):
            engine.save(tmp_path / "a", wrong)
        with pytest.raises(TypeError, match=f"`state` must be a dict, got a `{type(wrong).__name__}`"):
            engine.load(tmp_path / "a", wrong)
    engine.save(tmp_path / "a", net.state_dict())
    with pytest.raises(TypeError, match="`load_raw` takes what has a `load_state_dict`, got a `int`"):
        engine.load_raw(tmp_path / "a", 3)


def test_an_operation_of_torch_or_its_name_is_taken_and_nothing_else():
    one = torch.ones(1)
    for known in ("mean", "SUM", "product", torch.distributed.ReduceOp.MAX):
        assert fabric().all_reduce(one, known) is one
    with pytest.raises(ValueError, match=r"`reduce_op` must be 'mean', .* got 'median'"):
        fabric().all_reduce(one, "median")


def test_names_of_strategies_may_be_in_capitals():
    assert isinstance(fabric(strategy="DDP").strategy, DDPStrategy)


def test_arguments_that_belong_to_the_trainer_are_sent_there():
    with pytest.raises(TypeError, match=r"takes no argument `cluster_environment`\. Pass it to Fabric .* `plugins=`"):
        DDPStrategy(cluster_environment=None)


def test_devices_and_precisions_that_torch_does_not_know_are_refused():
    for make in (SingleDeviceStrategy, lambda device: MixedPrecision("bf16-mixed", device)):
        with pytest.raises(ValueError, match=r"There is no device 'cup'\. Pass a kind of device"):
            make("cup")
    for make in (lambda name: MixedPrecision(name, "cpu"), HalfPrecision):
        with pytest.raises(ValueError, match=r"`precision` of .* got 16"):
            make(16)
