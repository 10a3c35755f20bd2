from itertools import chain

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lt_data import ResumableSampler, sample_ids
from lt_interfaces import Stateful
from torch.utils.data import DistributedSampler

SIZES = {"length": st.integers(0, 40), "world_size": st.integers(1, 5), "epoch": st.integers(0, 3)}


def shards(world_size, **options):
    return [sample_ids(rank=rank, world_size=world_size, **options).tolist() for rank in range(world_size)]


@settings(deadline=None)
@given(**SIZES, shuffle=st.booleans())
def test_uneven_shards_hold_each_sample_once(length, **options):
    assert sorted(chain(*shards(length=length, even=False, **options))) == list(range(length))


@settings(deadline=None)
@given(**SIZES, drop_last=st.booleans())
def test_even_shards_are_equally_long_and_cover_what_they_can(length, world_size, drop_last, **options):
    parts = shards(length=length, world_size=world_size, drop_last=drop_last, **options)
    assert len({len(part) for part in parts}) == 1
    assert len(set(chain(*parts))) == (length - length % world_size if drop_last else length)


@settings(deadline=None)
@given(**SIZES, even=st.booleans(), drop_last=st.booleans(), steps=st.integers(0, 10))
def test_the_rest_after_a_position_is_the_tail_of_the_whole(length, world_size, steps, **options):
    whole = shards(length=length, world_size=world_size, **options)
    rest = shards(length=length, world_size=world_size, position=min(steps * world_size, length), **options)
    assert rest == [part[steps:] for part in whole]


@settings(deadline=None)
@given(length=st.integers(1, 40), before=st.integers(1, 4), after=st.integers(1, 4), steps=st.integers(0, 5))
def test_another_number_of_ranks_takes_over_exactly_the_samples_left(length, before, after, steps):
    done = list(chain(*(part[:steps] for part in shards(length=length, world_size=before, even=False))))
    rest = shards(length=length, world_size=after, position=len(done), even=False)
    assert sorted(chain(done, *rest)) == list(range(length))


def test_orders_differ_between_epochs_and_between_seeds():
    orders = {tuple(sample_ids(20, seed=seed, epoch=epoch).tolist()) for seed in range(4) for epoch in range(4)}
    assert len(orders) == 16


def test_the_order_does_not_depend_on_the_global_generator_nor_change_it():
    torch.manual_seed(0)
    first, number = sample_ids(20), torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(number, torch.rand(1))
    assert torch.equal(first, sample_ids(20))


@settings(deadline=None)
@given(length=st.integers(1, 30), world_size=st.integers(1, 4), even=st.booleans(), drop_last=st.booleans())
def test_the_length_of_a_sampler_is_the_number_of_its_samples(length, world_size, even, drop_last):
    for rank in range(world_size):
        sampler = ResumableSampler(range(length), rank=rank, world_size=world_size, even=even, drop_last=drop_last)
        assert len(sampler) == len(list(sampler))


def test_a_loaded_state_gives_the_rest_of_its_epoch_and_then_whole_ones():
    sampler = ResumableSampler(range(10), seed=5)
    sampler.set_epoch(2)
    whole, state = list(sampler), {**sampler.state_dict(), "position": 4}
    other = ResumableSampler(range(10), seed=0)
    other.load_state_dict(state)
    other.set_epoch(2)
    assert list(other) == whole[4:]
    other.set_epoch(3)
    assert len(list(other)) == 10


def test_without_shuffling_the_order_is_the_data_s():
    assert list(ResumableSampler(range(5), shuffle=False)) == [0, 1, 2, 3, 4]


def test_frameworks_see_a_distributed_sampler_with_a_state():
    assert isinstance(ResumableSampler(range(5)), DistributedSampler)
    assert isinstance(ResumableSampler(range(5)), Stateful)


def test_a_state_of_other_data_is_refused():
    with pytest.raises(ValueError, match="The state is of 5 samples, but there are 6"):
        ResumableSampler(range(6)).load_state_dict(ResumableSampler(range(5)).state_dict())
