import random
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lt_data import seed_worker
from lt_data.seeding import mixed
from torch.utils.data import DataLoader

np = pytest.importorskip("numpy")


class Draws(torch.utils.data.Dataset):
    """What random augmentation would draw."""

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return torch.rand(1).item(), random.random(), float(np.random.rand())


def drawn(seed, rank=0, epochs=1):
    torch.manual_seed(seed)
    loader = DataLoader(Draws(), batch_size=None, num_workers=2, worker_init_fn=partial(seed_worker, rank=rank))
    return [tuple(sample) for _ in range(epochs) for sample in loader]


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_workers_ranks_and_epochs_draw_different_numbers_and_the_same_in_every_run():
    first, second = drawn(0, rank=0, epochs=2), drawn(0, rank=1)
    for source in zip(*first, *second, strict=True):
        assert len(set(source)) == 6
    assert first == drawn(0, rank=0, epochs=2)


def numbers(worker_id, rank=None):
    torch.manual_seed(0)
    seed_worker(worker_id, rank)
    return torch.rand(1).item(), random.random(), float(np.random.rand())


def test_the_rank_is_read_from_torchrun_s_environment(monkeypatch):
    state = random.getstate(), np.random.get_state(), torch.get_rng_state()
    monkeypatch.setenv("RANK", "3")
    assert numbers(0) == numbers(0, rank=3) != numbers(0, rank=2)
    random.setstate(state[0])
    np.random.set_state(state[1])
    torch.set_rng_state(state[2])


@given(st.tuples(st.integers(0, 2**63), st.integers(0, 100), st.integers(0, 100)))
def test_seeds_fit_torch_and_depend_on_each_part(parts):
    assert 0 <= mixed(*parts) < 2**63
    assert mixed(*parts) == mixed(*parts) != mixed(parts[0] + 1, *parts[1:])
    assert mixed(*parts) != mixed(parts[0], parts[1] + 1, parts[2])
