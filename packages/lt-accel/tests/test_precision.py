import logging
import pickle

import pytest
import torch
from lt_accel import (
    DDPStrategy,
    DoublePrecision,
    Fabric,
    FSDPStrategy,
    HalfPrecision,
    MixedPrecision,
    ModelParallelStrategy,
)
from lt_accel.precision_names import choose_precision, statement
from lt_interfaces import MisconfigurationException
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import bf16_compress_hook
from torch.distributed.fsdp import MixedPrecisionPolicy

CPU = torch.device("cpu")


def setup(precision, optimizer=torch.optim.SGD, **kwargs):
    engine = Fabric(accelerator="cpu", devices=1, precision=precision)
    torch.manual_seed(0)
    net = nn.Linear(3, 2)
    return engine, net, *engine.setup(net, optimizer(net.parameters(), lr=0.1, **kwargs))


@pytest.mark.parametrize(
    ("given", "name"),
    [(None, "32-true"), (32, "32-true"), ("32", "32-true"), (64, "64-true"), ("64", "64-true"), (16, "16-mixed"),
     ("16", "16-mixed"), ("bf16", "bf16-mixed"), ("16-true", "16-true"), ("bf16-true", "bf16-true")],
)  # fmt: skip
def test_old_and_new_spellings_mean_the_same(given, name):
    assert choose_precision(given, CPU).precision == name


def test_an_unknown_precision_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match="Did you mean `bf16-mixed`"):
        choose_precision("b16-mixed", CPU)
    with pytest.raises(ValueError, match="HalfPrecision"):
        HalfPrecision("8-true")
    with pytest.raises(ValueError, match="MixedPrecision"):
        MixedPrecision("16", "cpu")
    with pytest.raises(ValueError, match="scaler"):
        MixedPrecision("bf16-mixed", "cpu", scaler=torch.amp.GradScaler("cpu"))


@pytest.mark.parametrize(("name", "dtype"), [("bf16-mixed", torch.bfloat16), ("16-mixed", torch.float16)])
def test_mixed_precision_computes_in_16_bits_and_keeps_32(name, dtype):
    engine, net, model, _ = setup(name)
    seen = []
    net.register_forward_hook(lambda module, args, output: seen.append(output.dtype))
    output = model(torch.ones(1, 3))
    engine.bind(model, "forward")(torch.ones(1, 3))
    assert net.weight.dtype == output.dtype == torch.float32
    assert seen == [dtype]
    with engine.autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


@pytest.mark.parametrize(
    ("name", "dtype"), [("16-true", torch.float16), ("bf16-true", torch.bfloat16), ("64-true", torch.float64)]
)
def test_true_precision_casts_weights_inputs_and_what_is_made_inside(name, dtype):
    class Step(nn.Linear):
        def training_step(self, batch):
            return self(batch["x"]).dtype, torch.zeros(1).dtype, batch["n"].dtype

    engine = Fabric(accelerator="cpu", devices=1, precision=name)
    step = engine.bind(engine.setup(Step(3, 1)), "training_step")
    assert step({"x": torch.ones(1, 3), "n": torch.ones(1, dtype=torch.long)}) == (dtype, dtype, torch.long)
    assert torch.get_default_dtype() == torch.float32


def test_double_precision_widens_complex_numbers():
    assert DoublePrecision().convert_input(torch.ones(1, dtype=torch.complex64)).dtype == torch.complex128


def test_training_in_every_precision_lowers_the_loss():
    for name in ("32-true", "64-true", "16-true", "bf16-true", "16-mixed", "bf16-mixed"):
        engine, _, model, optimizer = setup(name)
        losses = []
        for _ in range(5):
            optimizer.zero_grad()
            loss = model(torch.ones(4, 3)).pow(2).mean()
            engine.backward(loss)
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < losses[0], name


@pytest.mark.parametrize("fused", [False, True])
def test_infinite_gradients_leave_the_step_out_and_say_so(fused):
    engine, net, _, optimizer = setup("16-mixed", fused=fused)
    before = net.weight.clone()
    engine.scale_loss(net(torch.ones(1, 3)).sum()).backward()
    net.weight.grad[0, 0] = torch.inf
    assert engine.optimizer_step(optimizer) is False
    assert torch.equal(net.weight, before)
    optimizer.zero_grad()
    engine.backward(net(torch.ones(1, 3)).sum())
    assert engine.optimizer_step(optimizer) is True
    assert not torch.equal(net.weight, before)
    assert engine.scaler.get_scale() == 32768.0


def test_gradients_are_unscaled_once_however_often_asked():
    engine, net, _, optimizer = setup("16-mixed")
    engine.backward(net(torch.ones(1, 3)).sum())
    for _ in range(2):
        engine.unscale_gradients(optimizer)
    assert torch.equal(net.weight.grad, torch.ones(2, 3))
    assert engine.clip_gradients(net, optimizer, max_norm=100.0) == pytest.approx(8**0.5)
    assert engine.optimizer_step(optimizer)


def test_two_optimizers_share_a_scale_until_both_have_stepped():
    plugin = MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", growth_interval=1))
    engine = Fabric(accelerator="cpu", devices=1, plugins=plugin)
    params = [nn.Parameter(torch.zeros(1)) for _ in range(2)]
    optimizers = [torch.optim.SGD([p], lr=1.0) for p in params]
    for _ in range(3):
        for p, optimizer in zip(params, optimizers, strict=True):
            optimizer.zero_grad()
            engine.backward(p.sum())
        assert all(engine.optimizer_step(o) for o in optimizers)
    assert [p.item() for p in params] == [-3.0, -3.0]
    assert engine.state_dict()["scale"] == 65536.0 * 8


def test_an_optimizer_without_gradients_steps_and_counts():
    engine, _, _, optimizer = setup("16-mixed")
    assert engine.optimizer_step(optimizer) is True


def test_a_closure_runs_before_the_scaled_step():
    engine, net, _, optimizer = setup("16-mixed")
    before = net.weight.clone()

    def closure():
        loss = net(torch.ones(1, 3)).sum()
        engine.backward(loss)
        return loss

    assert optimizer.step(closure) is not None
    assert torch.allclose(net.weight, before - 0.1)
    lbfgs = torch.optim.LBFGS(net.parameters())
    with pytest.raises(MisconfigurationException, match="LBFGS"):
        engine.optimizer_step(lbfgs, closure)


def test_the_scalers_state_continues_and_travels():
    engine, net, _, optimizer = setup("16-mixed")
    engine.backward(net(torch.ones(1, 3)).sum() * torch.inf)
    engine.optimizer_step(optimizer)
    state = engine.state_dict()
    other = Fabric(accelerator="cpu", devices=1, precision=16)
    other.load_state_dict(state)
    assert other.scaler.get_scale() == state["scale"] == 32768.0
    assert pickle.loads(pickle.dumps(other)).state_dict() == state
    assert Fabric(accelerator="cpu", devices=1).state_dict() == {}


def test_weights_used_first_without_gradients_still_get_them():
    engine = Fabric(accelerator="cpu", devices=1, precision="bf16-mixed")

    class Twice(nn.Linear):
        def training_step(self, x):
            with torch.no_grad():
                target = self(x)
            return (self(x) - target - 1).pow(2).mean()

    net = Twice(3, 3)
    engine.backward(engine.bind(engine.setup(net), "training_step")(torch.ones(1, 3)))
    assert net.weight.grad is not None


def announced(caplog, **kwargs):
    engine = Fabric(**{"accelerator": "cpu", "devices": 1, **kwargs})
    with caplog.at_level(logging.INFO, logger="lt"):
        engine.launch(lambda fabric: [fabric.setup(nn.Linear(3, 2)) for _ in range(2)])
    return [record.getMessage() for record in caplog.records if "Precision" in record.getMessage()]


def test_a_precision_says_once_what_has_which_dtype_and_the_ordinary_one_says_nothing(caplog):
    assert announced(caplog, precision="32-true") == []
    assert announced(caplog, precision="16-mixed") == [
        "Precision 16-mixed: parameters float32, computed in float16 by autocast after scaling, gradients reduced in "
        "float32, optimizer state float32."
    ]


@pytest.mark.parametrize(
    ("strategy", "precision", "words"),
    [
        (lambda: DDPStrategy(ddp_comm_hook=bf16_compress_hook), "64-true", "in float64, gradients reduced in bfloat16"),
        (lambda: FSDPStrategy(), "bf16-mixed", "in bfloat16 by autocast, gradients reduced in float32"),
        (
            lambda: FSDPStrategy(mixed_precision=MixedPrecisionPolicy(torch.bfloat16)),
            32,
            "in bfloat16, gradients reduced in bfloat16",
        ),
        (lambda: ModelParallelStrategy(), "bf16-true", "gradients reduced in what the module says"),
    ],
)
def test_the_strategy_has_a_word_in_it(strategy, precision, words):
    engine = Fabric(accelerator="cpu", devices=2, strategy=strategy(), precision=precision)
    told = statement(engine.precision, *engine.strategy.dtypes(engine.precision))
    assert words in told


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: choose_precision(MixedPrecision("bf16-mixed", "cuda"), CPU), "does nothing on a cpu device"),
        (lambda: choose_precision("bf16-mixed", torch.device("meta")), "autocast, which 'meta' devices lack"),
        (lambda: choose_precision("64-true", torch.device("mps")), "MPS has no 64-bit numbers"),
        (lambda: choose_precision("nf4", CPU), "bitsandbytes"),
        (lambda: contradicting("bf16-mixed", torch.float16), "computes in torch.float16, and .* in torch.bfloat16"),
    ],
)
def test_what_a_device_lacks_and_what_contradicts_itself_is_refused(make, words):
    with pytest.raises(MisconfigurationException, match=words):
        make()


def contradicting(precision, dtype):
    strategy = FSDPStrategy(mixed_precision=MixedPrecisionPolicy(dtype))
    return Fabric(accelerator="cpu", devices=2, strategy=strategy, precision=precision)


@pytest.mark.parametrize("clip", [{"clip_val": 0.01}, {"max_norm": 0.01}])
def test_clipped_scaled_gradients_step_alike_whether_the_optimizer_is_fused_or_not(clip):
    stepped = []
    for fused in (False, True):
        engine, net, _, optimizer = setup("16-mixed", torch.optim.AdamW, fused=fused)
        for _ in range(3):
            optimizer.zero_grad()
            engine.backward(net(torch.ones(4, 3)).pow(2).mean())
            engine.clip_gradients(net, optimizer, **clip)
            assert max(p.grad.abs().max() for p in net.parameters()) <= 0.0101
            optimizer.step()
        stepped.append(net.weight.detach().clone())
    torch.testing.assert_close(*stepped)


def test_gradients_of_a_loss_that_was_not_scaled_are_refused_and_not_made_tiny():
    engine, _, model, optimizer = setup("16-mixed")
    for clips in (False, True):
        optimizer.zero_grad()
        model(torch.ones(2, 3)).pow(2).mean().backward()
        with pytest.raises(RuntimeError, match=r"not scaled as '16-mixed' needs it. Call `fabric.backward\(loss\)`"):
            engine.unscale_gradients(optimizer) if clips else optimizer.step()
        optimizer.zero_grad()
        engine.backward(model(torch.ones(2, 3)).pow(2).mean())
        optimizer.step()


def test_two_optimizers_may_step_on_the_gradients_of_one_loss():
    engine, net, model, first = setup("16-mixed")
    second = engine.setup_optimizers(torch.optim.SGD(net.parameters(), lr=0.1))
    engine.backward(model(torch.ones(2, 3)).pow(2).mean())
    assert [engine.optimizer_step(first), engine.optimizer_step(second)] == [True, True]
