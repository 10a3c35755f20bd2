import copy
import sys

import pytest
import torch
from lt_accel import Fabric
from lt_accel.quantization import BitsandbytesPrecision
from lt_interfaces import MisconfigurationException
from torch import nn

MODES = ("nf4", "nf4-dq", "fp4", "fp4-dq", "int8")


@pytest.fixture(autouse=True)
def _bitsandbytes(request):
    if "without" not in request.node.name:
        pytest.importorskip("bitsandbytes")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(64, 48)
        self.norm = nn.LayerNorm(48)
        self.again = self.second = nn.Linear(48, 48, bias=False)
        self.head = nn.Linear(48, 3)

    def forward(self, x):
        return self.head(self.second(torch.relu(self.norm(self.first(x)))))


def fabric(mode, **options):
    return Fabric(accelerator="cpu", devices=1, plugins=BitsandbytesPrecision(mode, **options))


X = torch.linspace(-1, 1, 4 * 64).view(4, 64).sin()


@pytest.mark.parametrize("mode", MODES)
def test_linear_layers_compute_nearly_the_same_from_few_bits_and_stay_as_they_are(mode):
    net = Net()
    wanted = net(X)
    engine = fabric(mode, ignore_modules={"head"})
    model, optimizer = engine.setup(net, torch.optim.SGD(net.parameters(), lr=0.1))
    assert net.first.weight.dtype == (torch.int8 if mode == "int8" else torch.uint8)
    assert type(net.head) is nn.Linear
    assert net.again is net.second
    before = net.first.weight.clone(), net.head.weight.clone()
    output = model(X)
    assert output.dtype == torch.float32
    assert (output - wanted).abs().mean() < wanted.abs().mean() / 4
    engine.backward(output.pow(2).mean())
    optimizer.step()
    assert torch.equal(net.first.weight, before[0])
    assert not torch.equal(net.head.weight, before[1])


@pytest.mark.parametrize("mode", MODES)
def test_what_is_saved_is_plain_and_gives_the_same_outputs_bit_for_bit(mode, tmp_path):
    engine, other = fabric(mode), fabric(mode)
    model, fresh = engine.setup(Net()), other.setup(Net())
    assert not torch.equal(fresh(X), model(X))
    engine.save(tmp_path / "a.ckpt", {"model": model})
    other.load(tmp_path / "a.ckpt", {"model": fresh})
    assert torch.equal(fresh(X), model(X))
    assert {type(value) for value in torch.load(tmp_path / "a.ckpt")["model"].values()} == {torch.Tensor}


@pytest.mark.parametrize("mode", MODES)
def test_full_weights_are_quantized_as_they_are_loaded(mode):
    net = Net()
    model, whole = fabric(mode).setup(copy.deepcopy(net)), fabric(mode).setup(Net())
    whole.load_state_dict(net.state_dict())
    assert torch.equal(whole(X), model(X))


@pytest.mark.parametrize("mode", MODES)
def test_layers_are_made_in_few_bits_where_modules_are_initialized(mode):
    engine = fabric(mode)
    with engine.init_module():
        net = Net()
    assert not net.first.weight.is_floating_point()
    assert net.norm.weight.dtype == engine.precision.param_dtype
    weight = net.first.weight
    model = engine.setup(net)
    assert net.first.weight is weight
    assert model(X).shape == (4, 3)


def test_a_copy_computes_the_same():
    model = fabric("nf4").setup(Net())
    assert torch.equal(copy.deepcopy(model)(X), model(X))


def test_a_single_layer_is_a_module_too():
    assert fabric("nf4").setup(nn.Linear(64, 64)).weight.dtype == torch.uint8


def _trained(fabric):
    torch.manual_seed(fabric.global_rank)
    net = Net()
    model, optimizer = fabric.setup(net, torch.optim.SGD(net.parameters(), lr=0.1))
    fabric.backward(model(X * (1 + fabric.global_rank)).pow(2).mean())
    optimizer.step()
    return fabric.all_gather(model(X))


@pytest.mark.parametrize("strategy", ["ddp_fork", "ddp_spawn"])
def test_all_ranks_have_the_weights_of_rank_zero(strategy):
    plugin = BitsandbytesPrecision("nf4", ignore_modules={"head"})
    first, second = Fabric(accelerator="cpu", devices=2, strategy=strategy, plugins=plugin).launch(_trained)
    assert torch.equal(first, second)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: BitsandbytesPrecision("nf5"), r"There is no `mode` 'nf5'. Did you mean `nf4`"),
        (lambda: BitsandbytesPrecision("int8", torch.bfloat16), r"`dtype` of mode 'int8' is torch.float16, got torch"),
        (lambda: fabric("int8-training"), r"does not run on a cpu device. Use a CUDA GPU"),
        (lambda: fabric("nf4").setup(nn.LayerNorm(1)), r"finds no linear layer in `LayerNorm`"),
        (lambda: fabric("nf4", ignore_modules={"0"}).setup(nn.Sequential(nn.Linear(1, 1))), r"finds no linear layer"),
        (
            lambda: Fabric(accelerator="cpu", devices=2, strategy="fsdp", plugins=BitsandbytesPrecision("nf4")),
            r"`FSDPStrategy` cannot deal out",
        ),
    ],
)
def test_what_cannot_be_quantized_is_refused(make, told):
    with pytest.raises((ValueError, MisconfigurationException), match=told):
        make()


def test_without_bitsandbytes_the_command_that_installs_it_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(ImportError, match=r"pip install 'lt-accel\[bitsandbytes\]'"):
        BitsandbytesPrecision("nf4")
