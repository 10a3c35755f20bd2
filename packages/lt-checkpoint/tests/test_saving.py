"""What `save` writes: durable, plain, checksummed, and what it refuses before touching the disk."""

import os
import resource
import zipfile
from collections import OrderedDict

import pytest
import torch
from lt_checkpoint import load, save


def parts(seed):
    torch.manual_seed(seed)
    model = torch.nn.Sequential(
        torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Dropout(), torch.nn.Linear(8, 1)
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    return model, optimizer, torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[2, 4])


def train(model, optimizer, scheduler):
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.randn(16, 4)).square().mean().backward()
        optimizer.step()
        scheduler.step()


def test_a_training_that_goes_on_from_the_file_is_the_same_bit_for_bit(tmp_path):
    original = parts(seed=0)
    train(*original)
    state = {"rng": torch.get_rng_state(), "parts": [part.state_dict() for part in original]}
    save(state, tmp_path / "x.ckpt")
    train(*original)
    resumed = parts(seed=1)
    loaded = load(tmp_path / "x.ckpt")
    for part, part_state in zip(resumed, loaded["parts"], strict=True):
        part.load_state_dict(part_state)
    torch.set_rng_state(loaded["rng"])
    train(*resumed)
    assert resumed[2].state_dict() == original[2].state_dict()
    for old, new in zip(original[0].state_dict().values(), resumed[0].state_dict().values(), strict=True):
        assert torch.equal(old, new)


def test_the_versions_in_a_module_state_survive(tmp_path):
    state = torch.nn.BatchNorm1d(2).state_dict()
    save({"state_dict": state}, tmp_path / "x.ckpt")
    loaded = load(tmp_path / "x.ckpt")["state_dict"]
    assert type(loaded) is OrderedDict
    assert loaded._metadata == state._metadata


def schedulers(optimizer):
    lr = torch.optim.lr_scheduler
    yield lr.LambdaLR(optimizer, lambda epoch: 0.5**epoch)
    yield lr.OneCycleLR(optimizer, max_lr=0.1, total_steps=10)
    yield lr.CyclicLR(optimizer, base_lr=0.1, max_lr=0.2)
    yield lr.CosineAnnealingWarmRestarts(optimizer, T_0=2)
    yield lr.ReduceLROnPlateau(optimizer)
    yield lr.SequentialLR(optimizer, [lr.ConstantLR(optimizer), lr.ExponentialLR(optimizer, 0.9)], milestones=[2])


@pytest.mark.filterwarnings("ignore")
def test_the_state_of_every_kind_of_scheduler_can_be_saved(tmp_path):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1, momentum=0.9)
    for scheduler in schedulers(optimizer):
        save(scheduler.state_dict(), tmp_path / "x.ckpt")
        assert load(tmp_path / "x.ckpt").keys() == scheduler.state_dict().keys()


def test_torch_reads_the_file_and_its_checksums_are_true(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        save({"w": torch.arange(1000)}, tmp_path / "x.ckpt")
    finally:
        torch.serialization.set_crc32_options(True)
    assert torch.equal(torch.load(tmp_path / "x.ckpt", weights_only=True)["w"], torch.arange(1000))
    assert zipfile.ZipFile(tmp_path / "x.ckpt").testzip() is None


def test_shared_memory_is_written_once_and_stays_shared(tmp_path):
    weight = torch.nn.Parameter(torch.randn(100_000))
    save({"a": weight, "b": weight, "c": weight.data[:10]}, tmp_path / "x.ckpt")
    loaded = load(tmp_path / "x.ckpt")
    assert (tmp_path / "x.ckpt").stat().st_size < 500_000
    loaded["a"][0] = 7
    assert loaded["b"][0] == loaded["c"][0] == 7
    assert type(loaded["a"]) is torch.Tensor


def test_what_cannot_be_read_back_is_refused_with_its_key_before_anything_is_written(tmp_path):
    save({"step": 1}, tmp_path / "x.ckpt")
    with pytest.raises(TypeError, match=r"`checkpoint\['hyper_parameters'\]\['act'\]\[1\]`, a `function`"):
        save({"hyper_parameters": {"act": ["relu", lambda x: x]}}, tmp_path / "x.ckpt")
    with pytest.raises(TypeError, match="got `list`"):
        save([1], tmp_path / "x.ckpt")
    assert load(tmp_path / "x.ckpt") == {"step": 1}
    assert os.listdir(tmp_path) == ["x.ckpt"]


def test_a_full_disk_is_an_oserror_with_the_file_name_and_the_old_file_stays(tmp_path):
    save({"step": 1}, tmp_path / "x.ckpt")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
    try:
        with pytest.raises(OSError, match=r"too large.*x\.ckpt"):
            save({"w": torch.zeros(1_000_000)}, tmp_path / "x.ckpt")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert load(tmp_path / "x.ckpt") == {"step": 1}
    assert os.listdir(tmp_path) == ["x.ckpt"]


def test_a_state_larger_than_the_disk_is_refused_at_once(tmp_path):
    huge = torch.empty(0).set_(torch.UntypedStorage.from_file(str(tmp_path / "sparse"), True, 10**13))
    with pytest.raises(OSError, match="are free"):
        save({"w": huge}, tmp_path / "x.ckpt")
    assert not (tmp_path / "x.ckpt").exists()


def test_a_save_needs_no_second_copy_of_the_state(tmp_path):
    state = {f"w{i}": torch.randn(1_000_000) for i in range(30)}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    save(state, tmp_path / "x.ckpt")
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_kib < 12_000  # the state has 120,000
