import json

import pytest
import torch
from lt_accel import Fabric
from lt_interfaces import MisconfigurationException
from torch import nn
from torch.utils.data import DataLoader

pytest.importorskip("deepspeed", reason="too heavy to build for every run of the tests")
from lt_accel import DeepSpeedStrategy

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")
DATA = torch.arange(48.0).reshape(16, 3) / 48
STAGES = pytest.mark.parametrize("stage", [1, 2, 3])


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(3, 5), nn.Linear(5, 1)

    def forward(self, x):
        return self.second(self.first(x).relu())


def forked(function, *args, strategy=None, **kwargs):
    """The function on two forked processes, under stage 2 unless told otherwise."""
    strategy = strategy or DeepSpeedStrategy(start_method="fork", stage=kwargs.pop("stage", 2))
    return Fabric(accelerator="cpu", devices=2, strategy=strategy, **kwargs).launch(function, *args)


def made(fabric):
    model = Net()
    return fabric.setup(model, torch.optim.AdamW(model.parameters(), lr=0.05))


def steps(fabric, model, optimizer, number=5, accumulate=1, clip=None):
    """Steps on this rank's share of the data; the norms of the gradients."""
    batches = fabric.setup_dataloaders(DataLoader(DATA, batch_size=16 // fabric.world_size // accumulate))
    norms = []
    for _ in range(number):
        for i, batch in enumerate(batches):
            with fabric.no_backward_sync(model, enabled=i + 1 < accumulate):
                fabric.backward(model(batch).float().pow(2).mean() / accumulate)
        norms += [] if clip is None else [fabric.clip_gradients(model, optimizer, max_norm=clip)]
        optimizer.step()
        optimizer.zero_grad()
    return torch.stack(norms) if norms else torch.zeros(1)


def weights(model):
    return torch.cat([p.flatten() for p in model.state_dict().values()])


def train(fabric, accumulate=1, clip=None):
    model, optimizer = made(fabric)
    norms = steps(fabric, model, optimizer, 5, accumulate, clip)
    return weights(model), norms


@STAGES
@pytest.mark.parametrize(("accumulate", "clip"), [(1, None), (2, 0.1)])
def test_two_ranks_train_as_ddp_does(stage, accumulate, clip):
    expected, norms = forked(train, accumulate, clip, strategy="ddp_fork")
    got, got_norms = forked(train, accumulate, clip, stage=stage)
    torch.testing.assert_close(got, expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(got_norms, norms, atol=1e-6, rtol=0)
    assert not torch.equal(expected, weights(Net()))


@STAGES
def test_what_waits_in_the_cpus_memory_trains_alike(stage):
    offload = {"offload_optimizer": True, "offload_parameters": stage == 3}
    got, _ = forked(train, strategy=DeepSpeedStrategy(start_method="fork", stage=stage, **offload))
    torch.testing.assert_close(got, forked(train, strategy="ddp_fork")[0], atol=1e-6, rtol=0)


@STAGES
@pytest.mark.parametrize(
    ("precision", "dtype", "near"), [("bf16-mixed", torch.float32, 1e-6), ("bf16-true", torch.bfloat16, 0.02)]
)
def test_two_ranks_train_in_sixteen_bits_as_ddp_does_in_mixed_precision(stage, precision, dtype, near):
    expected, _ = forked(train, strategy="ddp_fork", precision="bf16-mixed")
    got, _ = forked(train, stage=stage, precision=precision)
    assert got.dtype == dtype
    torch.testing.assert_close(got.float(), expected, atol=near, rtol=0)


def broken_off(fabric, path):
    model, optimizer = made(fabric)
    steps(fabric, model, optimizer, 2)
    fabric.save(path, {"model": model, "optimizer": optimizer})
    steps(fabric, model, optimizer, 3)
    return weights(model)


def resumed(fabric, path):
    model, optimizer = made(fabric)
    steps(fabric, model, optimizer, 1)  # what is loaded replaces what is there
    fabric.load(path, {"model": model, "optimizer": optimizer})
    steps(fabric, model, optimizer, 3)
    return weights(model)


@STAGES
@pytest.mark.parametrize("precision", ["32-true", "bf16-true"])
def test_a_run_goes_on_where_it_was_saved(stage, precision, tmp_path):
    path = tmp_path / "run.ckpt"
    expected = forked(broken_off, path, stage=stage, precision=precision)
    assert torch.equal(forked(resumed, path, stage=stage, precision=precision), expected)
    whole = torch.load(path, weights_only=True)["model"]
    assert {k: v.shape for k, v in whole.items()} == {k: v.shape for k, v in Net().state_dict().items()}


def test_an_optimizers_state_of_another_stage_is_refused(tmp_path):
    path = tmp_path / "run.ckpt"
    forked(broken_off, path, stage=1)

    def main(fabric):
        with pytest.raises(MisconfigurationException, match=r"'stage': 1.* this run is .*'stage': 2"):
            resumed(fabric, path)

    forked(main)


@STAGES
def test_evaluation_in_inference_mode_leaves_training_as_it_was(stage):
    def main(fabric):
        model, optimizer = made(fabric)
        with torch.inference_mode():
            before = model(DATA).clone()
        steps(fabric, model, optimizer)
        return before, weights(model)

    before, after = forked(main, stage=stage)
    torch.testing.assert_close(before, Net()(DATA).detach())
    torch.testing.assert_close(after, forked(train, strategy="ddp_fork")[0], atol=1e-6, rtol=0)


def test_what_deepspeed_cannot_do_is_refused_with_what_to_do_instead():
    def main(fabric):
        model, optimizer = made(fabric)
        with pytest.raises(MisconfigurationException, match="algorithm='norm'"):
            fabric.clip_gradients(model, optimizer, clip_val=1.0)
        with pytest.raises(ValueError, match="2-norm"):
            fabric.clip_gradients(model, optimizer, max_norm=1.0, norm_type=1.0)
        with pytest.raises(MisconfigurationException, match="one module"):
            fabric.setup(Net())
        model.module.training_step = lambda x: fabric.backward(model.module(x).mean())
        with pytest.raises(MisconfigurationException, match="manual optimization"):
            model.training_step(DATA)
        with fabric.no_backward_sync(model):
            fabric.backward(model(DATA).mean())
        with pytest.raises(RuntimeError, match="inside an accumulation window"):
            optimizer.step()

    forked(main)


def test_gradients_that_are_not_finite_end_the_run():
    def main(fabric):
        model, optimizer = made(fabric)
        fabric.backward(model(DATA).mean() * float("inf"))
        with pytest.raises(FloatingPointError, match="not finite"):
            optimizer.step()

    forked(main)


def test_deepspeeds_own_folders_are_not_unpickled(tmp_path):
    with pytest.raises(MisconfigurationException, match="hold pickles"):
        DeepSpeedStrategy().load_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"gradient_clipping": 1.0}, "gradient_clip_val"),
        ({"gradient_accumulation_steps": 2}, "accumulate_grad_batches"),
        ({"optimizer": {}}, "configure_optimizers"),
        ({"bf16": {"enabled": True}}, "precision"),
        ({"zero_optimization": {"stage": 3}}, "one place"),
    ],
)
def test_what_the_trainer_says_is_not_said_in_the_config_too(config, words, tmp_path):
    (tmp_path / "ds.json").write_text(json.dumps(config))
    with pytest.raises(MisconfigurationException, match=words):
        DeepSpeedStrategy(stage=2, config=tmp_path / "ds.json")


def test_arguments_are_checked_where_they_are_given():
    assert DeepSpeedStrategy(config={"zero_optimization": {"stage": 3}}).stage == 3
    with pytest.raises(TypeError, match="reduce_bucket_size"):
        DeepSpeedStrategy(reduce_bucket_sizes=1)
    with pytest.raises(ValueError, match="1, 2 or 3"):
        DeepSpeedStrategy(stage=4)
    with pytest.raises(MisconfigurationException, match="stage=3"):
        DeepSpeedStrategy(offload_parameters=True)
    with pytest.raises(MisconfigurationException, match="bf16-mixed"):
        Fabric(accelerator="cpu", devices=2, strategy="deepspeed", precision="16-mixed")
