from itertools import chain

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lt_data import ResumableLoader, ResumableSampler
from torch.utils.data import DataLoader, SequentialSampler

forks = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")


def values(loader):
    return [batch.tolist() for batch in loader]


@settings(deadline=None, max_examples=60)
@given(length=st.integers(1, 20), batch_size=st.integers(1, 5), drop_last=st.booleans(), taken=st.integers(0, 20))
def test_a_loaded_state_gives_the_rest_and_then_the_next_epoch(length, batch_size, drop_last, taken):
    options = {"batch_size": batch_size, "drop_last": drop_last, "shuffle": True}
    loader, other = (ResumableLoader(range(length), **options) for _ in range(2))
    iterator = iter(loader)
    for _ in range(min(taken, len(loader))):
        next(iterator)
    other.load_state_dict(loader.state_dict())
    assert values(iterator) == values(other)
    assert values(loader) == values(other)
    assert loader.state_dict() == other.state_dict()


@forks
def test_batches_that_workers_fetched_ahead_do_not_count():
    loader = ResumableLoader(range(40), batch_size=2, shuffle=True, num_workers=1, prefetch_factor=4)
    iterator = iter(loader)
    seen = [next(iterator).tolist() for _ in range(3)]
    state = loader.state_dict()
    del iterator
    other = ResumableLoader(range(40), batch_size=2, shuffle=True)
    other.load_state_dict(state)
    assert state["position"] == 6
    assert sorted(chain(*seen, *values(other))) == list(range(40))


def test_a_run_of_two_ranks_continues_on_three():
    data = list(range(24))
    two = [ResumableLoader(data, 2, sampler=ResumableSampler(data, rank=r, world_size=2)) for r in range(2)]
    iterators = [iter(loader) for loader in two]
    done = [next(i).tolist() for i in iterators for _ in range(3)]
    three = [ResumableLoader(data, 2, sampler=ResumableSampler(data, rank=r, world_size=3)) for r in range(3)]
    for loader in three:
        loader.load_state_dict(two[0].state_dict())
    assert sorted(chain(*done, *chain(*map(values, three)))) == data


def test_each_epoch_has_another_order_without_being_told():
    loader = ResumableLoader(range(20), batch_size=20, shuffle=True)
    first, second = values(loader), values(loader)
    assert first != second
    loader.sampler.set_epoch(0)
    assert values(loader) == first


def test_an_epoch_that_was_left_starts_again_with_its_whole_order():
    loader = ResumableLoader(range(20), batch_size=5, shuffle=True)
    (first,) = (batch.tolist() for batch, _ in zip(loader, range(1), strict=False))
    assert loader.state_dict()["position"] == 0
    assert values(loader)[0] == first


def test_an_epoch_that_was_resumed_and_left_starts_again_as_a_whole():
    loader = ResumableLoader(range(6), batch_size=2)
    loader.load_state_dict({**loader.state_dict(), "position": 4, "begun": True})
    for _ in loader:
        break
    assert len(values(loader)) == 3


def test_reset_forgets_a_loaded_position():
    loader = ResumableLoader(range(6), batch_size=2)
    loader.load_state_dict({**loader.state_dict(), "position": 4, "begun": True})
    assert values(loader) == [[4, 5]]
    loader.load_state_dict({**loader.state_dict(), "position": 4, "begun": True})
    assert loader.state_dict()["position"] == 4
    loader.reset()
    assert len(values(loader)) == 3


def test_it_is_a_dataloader_with_the_usual_options():
    loader = ResumableLoader([1, 2, 3], batch_size=2, collate_fn=sum)
    assert isinstance(loader, DataLoader)
    assert list(loader) == [3, 3]
    assert len(loader) == 2


def test_unbatched_samples_are_counted_one_by_one():
    loader = ResumableLoader(torch.arange(4), batch_size=None)
    iterator = iter(loader)
    next(iterator)
    assert loader.state_dict()["position"] == 1


def test_other_samplers_are_refused():
    with pytest.raises(TypeError, match="Give a `ResumableSampler`"):
        ResumableLoader(range(3), sampler=SequentialSampler(range(3)))
    with pytest.raises(ValueError, match="Say `shuffle` to the sampler"):
        ResumableLoader(range(3), shuffle=True, sampler=ResumableSampler(range(3)))
