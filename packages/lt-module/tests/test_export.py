import warnings
from types import SimpleNamespace

import pytest
import torch
from lt_module import LightningModule
from torch import nn


class Model(LightningModule):
    def __init__(self):
        super().__init__()
        self.save_hyperparameters()
        self.layer = nn.Linear(2, 1)
        self.drop = nn.Dropout(0.5).eval()
        self.example_input_array = torch.ones(3, 2)

    def forward(self, x):
        self.log("mean", x.mean())
        return self.drop(self.layer(x)) + torch.zeros(1, device=self.device)


class Silent(Model):
    def forward(self, x):
        return self.drop(self.layer(x))


def attached(cls=Model):
    model, logged = cls(), []
    model.trainer = SimpleNamespace(recorder=SimpleNamespace(log=lambda *args: logged.append(args)))
    return model, logged


@pytest.mark.parametrize("strict", [False, True])
def test_torch_export_takes_an_attached_module_and_logs_nothing(strict):
    model, logged = attached()
    model.eval()
    program = torch.export.export(model, (torch.ones(3, 2),), strict=strict)
    assert logged == []
    x = torch.randn(3, 2)
    torch.testing.assert_close(program.module()(x), model(x))


def test_torch_compile_takes_the_module_in_one_graph():
    model, _ = attached(Silent)
    model.eval()
    x = torch.randn(3, 2)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), model(x))


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize("method", ["script", "trace"])
def test_torchscript_is_written_and_each_part_keeps_its_mode(tmp_path, method):
    model, _ = attached(Silent)
    model.to_torchscript(tmp_path / "m.pt", method=method)
    assert (model.training, model.layer.training, model.drop.training) == (True, True, False)
    x = torch.randn(3, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loaded = torch.jit.load(tmp_path / "m.pt")
    torch.testing.assert_close(loaded(x), model.eval()(x))


def test_an_unknown_way_to_torchscript_is_refused():
    with pytest.raises(ValueError, match="'tracing'"):
        Silent().to_torchscript(method="tracing")


def test_exports_that_run_the_module_need_an_input():
    model = Silent()
    model.example_input_array = None
    with pytest.raises(ValueError, match="example_input_array"):
        model.to_torchscript(method="trace")


def test_onnx_without_its_packages_names_the_command():
    try:
        import onnx  # noqa: F401
    except ImportError:
        with pytest.raises(ImportError, match=r"pip install lt-module\[onnx\]"):
            Silent().to_onnx()
    else:
        pytest.skip("onnx is installed")


def test_onnx_is_written_with_the_answers_of_the_module(tmp_path):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    from onnx.reference import ReferenceEvaluator

    model, _ = attached(Silent)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.to_onnx(tmp_path / "m.onnx")
    program = ReferenceEvaluator(onnx.load(tmp_path / "m.onnx"))
    x = torch.randn(3, 2)
    (answer,) = program.run(None, {program.input_names[0]: x.numpy()})
    torch.testing.assert_close(torch.from_numpy(answer), model.eval()(x).detach())
