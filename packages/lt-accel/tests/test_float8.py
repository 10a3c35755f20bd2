import importlib.util
import sys

import pytest
import torch
from lt_accel import Fabric
from lt_accel.float8 import Float8Precision, TransformerEnginePrecision
from lt_interfaces import MisconfigurationException
from torch import nn


def emulated(**kwargs):
    """Multiplies in 8 bits on the CPU, by torchao."""
    float8 = pytest.importorskip("torchao.float8", reason="fp8 needs torchao", exc_type=ImportError)
    return Float8Precision(float8.Float8LinearConfig(emulate=True), **kwargs)


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 16), nn.Linear(16, 1))


def losses(**kwargs):
    engine = Fabric(accelerator="cpu", devices=1, **kwargs)
    module = net()
    model, optimizer = engine.setup(module, torch.optim.SGD(module.parameters(), lr=0.05))
    torch.manual_seed(1)
    seen = []
    for _ in range(5):
        optimizer.zero_grad()
        loss = model(torch.randn(32, 16)).pow(2).mean()
        engine.backward(loss)
        optimizer.step()
        seen.append(loss.item())
    return seen, model


def test_training_in_eight_bits_is_close_to_training_in_32_and_saves_the_same_names():
    eight, model = losses(plugins=emulated())
    full, plain = losses()
    assert eight != full
    assert eight == pytest.approx(full, rel=0.2)
    assert [type(part).__name__ for part in model.module] == ["Float8Linear", "ReLU", "Float8Linear", "Linear"]
    assert list(model.state_dict()) == list(plain.state_dict())
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_layers_can_be_left_out_and_a_module_without_any_is_refused():
    module = emulated(ignore_modules={"0"}).convert_module(net())
    assert [type(part).__name__ for part in module] == ["Linear", "ReLU", "Float8Linear", "Linear"]
    with pytest.raises(MisconfigurationException, match="finds nothing to do in `Linear`"):
        emulated().convert_module(nn.Linear(16, 16))


def test_a_device_that_cannot_multiply_in_eight_bits_is_named():
    pytest.importorskip("torchao", reason="fp8 needs torchao", exc_type=ImportError)
    with pytest.raises(MisconfigurationException, match=r"this is a cpu device.*emulate=True"):
        Fabric(accelerator="cpu", devices=1, precision="fp8")


@pytest.mark.parametrize("name", ["transformer-engine", "transformer-engine-float16"])
@pytest.mark.skipif(importlib.util.find_spec("transformer_engine") is not None, reason="is about its absence")
def test_a_library_that_is_missing_is_named_with_its_command(name):
    with pytest.raises(ImportError, match=r"pip install 'lt-accel\[transformer-engine\]'"):
        Fabric(accelerator="cpu", devices=1, precision=name)


def test_an_engine_of_other_weights_is_refused():
    with pytest.raises(ValueError, match=r"bfloat16 or torch\.float16"):
        TransformerEnginePrecision(weights_dtype=torch.float32)


def test_without_torchao_the_command_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchao.float8", None)
    with pytest.raises(ImportError, match=r"pip install 'lt-accel\[fp8\]'"):
        Float8Precision()
