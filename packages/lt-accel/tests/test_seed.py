import os
import random

import pytest
import torch
from lt_accel import Fabric, isolate_rng, reset_seed, seed_everything
from lt_accel.seed import _mix


def draw():
    return random.random(), torch.rand(1).item()


def test_the_same_seed_gives_the_same_numbers_everywhere():
    numpy = pytest.importorskip("numpy")
    assert seed_everything(7) == 7
    first = (*draw(), numpy.random.rand())
    seed_everything("7")
    assert (*draw(), numpy.random.rand()) == first
    reset_seed()
    assert (*draw(), numpy.random.rand()) == first


def test_without_a_seed_it_is_that_of_the_environment_else_zero(monkeypatch, caplog):
    monkeypatch.setenv("PL_GLOBAL_SEED", "5")
    assert seed_everything() == 5
    monkeypatch.delenv("PL_GLOBAL_SEED")
    with caplog.at_level("INFO", "lt"):
        assert seed_everything() == 0
    assert "the seed is 0" in caplog.text


def test_the_seed_is_left_for_processes_started_later():
    Fabric.seed_everything(11)
    assert (os.environ["PL_GLOBAL_SEED"], os.environ["PL_SEED_WORKERS"]) == ("11", "1")


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_out_of_range_is_refused(seed):
    with pytest.raises(ValueError, match="between 0 and"):
        seed_everything(seed)


def test_a_seed_variable_that_is_no_number_is_named(monkeypatch):
    monkeypatch.setenv("PL_GLOBAL_SEED", "x")
    with pytest.raises(ValueError, match="PL_GLOBAL_SEED"):
        seed_everything()


def test_what_is_drawn_inside_changes_nothing_outside():
    pytest.importorskip("numpy")
    seed_everything(1)
    expected = draw()
    seed_everything(1)
    with isolate_rng():
        draw()
    assert draw() == expected


def test_neighbouring_seeds_and_ranks_mix_to_different_numbers():
    assert len({_mix(seed, rank) for seed in range(50) for rank in range(50)}) == 2500
