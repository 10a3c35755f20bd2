import gc
import io
import math
import pickle
import weakref

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lt_data import CombinedLoader, ResumableLoader, TensorLoader
from lt_interfaces import Stateful
from torch.utils.data import DataLoader, Dataset, IterableDataset, WeightedRandomSampler

MODES = ["min_size", "max_size", "max_size_cycle", "sequential"]


def through_a_file(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def batches(loader):
    return [batch for batch, *_ in loader]


def letters(mode, limits=None):
    loader = CombinedLoader({"a": Words("a", 2), "b": Words("b", 3)}, mode)
    loader.limits = limits
    return list(loader)


class Words:
    """A loader of words that counts its passes and knows its length."""

    def __init__(self, word, length):
        self.word, self.length, self.passes, self.alive = word, length, 0, 0

    def __len__(self):
        return self.length

    def __iter__(self):
        self.passes += 1
        return self.words()

    def words(self):
        self.alive += 1
        try:
            yield from (f"{self.word}{i}" for i in range(self.length))
        finally:
            self.alive -= 1


class Stream(IterableDataset):
    def __iter__(self):
        return iter(range(3))


def test_min_size_ends_with_the_shortest():
    assert letters("min_size") == [({"a": "a0", "b": "b0"}, 0, 0), ({"a": "a1", "b": "b1"}, 1, 0)]


def test_max_size_gives_none_for_a_loader_that_ended():
    assert letters("max_size")[1:] == [({"a": "a1", "b": "b1"}, 1, 0), ({"a": None, "b": "b2"}, 2, 0)]


def test_max_size_cycle_starts_a_loader_again_that_ended():
    assert letters("max_size_cycle")[1:] == [({"a": "a1", "b": "b1"}, 1, 0), ({"a": "a0", "b": "b2"}, 2, 0)]


def test_sequential_gives_one_loader_after_another():
    assert letters("sequential") == [("a0", 0, 0), ("a1", 1, 0), ("b0", 0, 1), ("b1", 1, 1), ("b2", 2, 1)]


def test_limits_hold_for_each_loader():
    assert letters("sequential", [1, 2]) == [("a0", 0, 0), ("b0", 0, 1), ("b1", 1, 1)]
    assert [b for b, *_ in letters("max_size_cycle", [1, 3])] == [{"a": "a0", "b": f"b{i}"} for i in range(3)]
    assert len(letters("min_size", 1)) == 1
    assert letters("max_size", 0) == []


@settings(deadline=None)
@given(st.sampled_from(MODES), st.lists(st.tuples(st.integers(0, 4), st.sampled_from([0, 1, 3, math.inf])), max_size=3))
def test_the_length_is_the_number_of_batches_that_come(mode, members):
    loader = CombinedLoader([range(length) for length, _ in members], mode)
    loader.limits = [limit for _, limit in members]
    lengths = [min(member) for member in members]
    if mode == "max_size_cycle" and 0 in lengths and any(lengths):
        with pytest.raises(ValueError, match="nothing of it to repeat"):
            len(loader)
        with pytest.raises(ValueError, match="nothing of it to repeat"):
            list(loader)
    else:
        assert len(loader) == len(list(loader)) == len(list(loader))


def test_a_loader_of_unknown_length_leaves_the_whole_without_one():
    loader = CombinedLoader([DataLoader(Stream()), range(5)], "max_size")
    with pytest.raises(TypeError):
        len(loader)
    assert len(list(loader)) == 5


def test_the_shortest_is_one_of_those_whose_length_is_known():
    assert len(CombinedLoader({"few": range(3), "stream": DataLoader(Stream())}, "min_size")) == 3
    with pytest.raises(TypeError):
        len(CombinedLoader([DataLoader(Stream())], "min_size"))


def test_loaders_that_claim_too_much_end_where_they_end():
    class Liar:
        def __len__(self):
            return 100

        def __iter__(self):
            return iter(range(3))

    assert len(list(CombinedLoader([Liar(), range(2)], "max_size"))) == 3


def test_only_the_active_loader_of_a_sequence_is_alive():
    members = [Words("a", 2), Words("b", 2)]
    alive = [[m.alive for m in members] for _ in CombinedLoader(members, "sequential")]
    assert alive == [[1, 0], [1, 0], [0, 1], [0, 1]]
    assert [m.alive for m in members] == [0, 0]


def test_loaders_of_the_same_length_are_not_started_again():
    members = [Words("a", 2), Words("b", 2)]
    assert len(list(CombinedLoader(members, "max_size_cycle"))) == 2
    assert [m.passes for m in members] == [1, 1]


def test_a_shuffling_loader_that_starts_again_has_a_new_order():
    torch.manual_seed(0)
    loader = CombinedLoader([DataLoader(range(10), 10, shuffle=True), range(2)], "max_size_cycle")
    (first, _), (second, _) = batches(loader)
    assert sorted(first.tolist()) == sorted(second.tolist()) != first.tolist() != second.tolist()


def test_any_nesting_comes_back_around_the_batches():
    tree = {"x": [range(2), (range(3), {"y": range(2)})]}
    assert batches(CombinedLoader(tree)) == [{"x": [i, (i, {"y": i})]} for i in range(2)]
    assert batches(CombinedLoader(range(2))) == [0, 1]


def test_samplers_come_in_the_nesting_of_the_loaders():
    plain = DataLoader(range(4), batch_size=2)
    loader = CombinedLoader({"a": plain, "b": range(2)})
    assert loader.sampler == {"a": plain.sampler, "b": None}
    assert loader.batch_sampler == {"a": plain.batch_sampler, "b": None}


def test_flattened_can_be_replaced_one_for_one():
    loader = CombinedLoader({"a": range(1), "b": (range(2),)})
    loader.flattened = [x if len(x) > 1 else range(5, 7) for x in loader.flattened]
    assert loader.iterables == {"a": range(5, 7), "b": (range(2),)}
    assert batches(loader) == [{"a": 5, "b": (0,)}, {"a": 6, "b": (1,)}]
    with pytest.raises(ValueError, match="got 1 loaders for 2"):
        loader.flattened = [range(1)]


def members(kind):
    if kind == "shuffling":
        return [DataLoader(range(5), 2, shuffle=True), DataLoader(range(10, 13), 1, shuffle=True)]
    if kind == "stateful":
        tensors = TensorLoader(torch.arange(5), batch_size=2, shuffle=True)
        return [tensors, ResumableLoader(range(10, 14), 1, shuffle=True)]
    if kind == "own generators":
        first, second = (torch.Generator().manual_seed(seed) for seed in (1, 2))
        drawn = WeightedRandomSampler(torch.ones(4), 7, generator=second)
        return [DataLoader(range(5), 2, shuffle=True, generator=first), DataLoader(range(4), 1, sampler=drawn)]
    return [ResumableLoader(range(5), 2, shuffle=True), {"x": DataLoader(range(3), 1, shuffle=True), "y": range(7)}]


def test_a_loaded_state_reads_no_sample_again_that_has_an_index():
    class Samples(Dataset):
        loaded = 0

        def __len__(self):
            return 20

        def __getitem__(self, index):
            Samples.loaded += 1
            return index

    loader, other = (CombinedLoader([DataLoader(Samples(), 2, shuffle=True)]) for _ in range(2))
    iterator = iter(loader)
    for _ in range(7):
        next(iterator)
    other.load_state_dict(loader.state_dict())
    Samples.loaded = 0
    assert len(list(other)) == 3
    assert Samples.loaded == 6


def flat(stream):
    return [(repr(batch), idx, loader_idx, torch.rand(1).item()) for batch, idx, loader_idx in stream]


@settings(deadline=None, max_examples=160)
@given(
    st.sampled_from(MODES), st.sampled_from(["shuffling", "own generators", "stateful", "mixed"]), st.integers(0, 15)
)
def test_a_loaded_state_continues_batches_and_random_numbers(mode, kind, taken):
    torch.manual_seed(4)
    loader, other = (CombinedLoader(members(kind), mode) for _ in range(2))
    iterator = iter(loader)
    for _ in range(min(taken, len(loader))):
        next(iterator)
        torch.rand(3)
    state, numbers = through_a_file(loader.state_dict()), torch.get_rng_state()
    rest = flat(iterator) + flat(loader)
    other.load_state_dict(state)
    torch.set_rng_state(numbers)
    assert flat(other) + flat(other) == rest
    assert isinstance(loader, Stateful)


def test_a_state_that_was_loaded_and_not_yet_used_is_saved_again():
    loader, other = (CombinedLoader([range(5), range(5)]) for _ in range(2))
    iterator = iter(loader)
    next(iterator)
    other.load_state_dict(loader.state_dict())
    assert other.state_dict()["position"]["batch_idx"] == 1
    other.reset()
    assert len(list(other)) == 5


def test_a_state_of_other_loaders_or_another_mode_is_refused():
    state = CombinedLoader([range(2), range(2)]).state_dict()
    with pytest.raises(ValueError, match="The state is of 2 loaders in mode `min_size`, but there are 1"):
        CombinedLoader([range(2)]).load_state_dict(state)
    with pytest.raises(ValueError, match="mode `max_size`"):
        CombinedLoader([range(2), range(2)], "max_size").load_state_dict(state)


def test_a_position_beyond_the_data_is_refused():
    loader = CombinedLoader([range(5)])
    iterator = iter(loader)
    seen = [next(iterator) for _ in range(4)]
    other = CombinedLoader([range(3)])
    other.load_state_dict(loader.state_dict())
    with pytest.raises(RuntimeError, match="lies after 4 batches, but the loader has only 3"):
        iter(other)
    assert len(seen) == 4


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_reset_ends_the_iteration_and_the_workers():
    plain = DataLoader(range(8), num_workers=1, persistent_workers=True)
    loader = CombinedLoader([plain, plain], "sequential")
    iterator = iter(loader)
    next(iterator)
    workers = weakref.ref(plain._iterator)
    loader.reset()
    gc.collect()
    assert next(iterator, None) is None
    assert workers() is None


def test_it_can_be_pickled_while_it_is_iterated():
    loader = CombinedLoader([range(3), range(2)], "max_size")
    iterator = iter(loader)
    next(iterator)
    assert len(list(pickle.loads(pickle.dumps(loader)))) == 3


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        (([range(1)], "max_size_cycles"), ValueError, "Did you mean `max_size_cycle`?"),
        (([1, 2],), TypeError, "found 1 where a loader belongs"),
    ],
)
def test_wrong_arguments_are_refused(arguments, error, sentence):
    with pytest.raises(error, match=sentence):
        CombinedLoader(*arguments)


@pytest.mark.parametrize(
    ("limits", "sentence"), [([1], "got 1 numbers for 2"), (-1, "got -1"), (0.5, "got 0.5, no number of batches")]
)
def test_wrong_limits_are_refused(limits, sentence):
    loader = CombinedLoader([range(1), range(1)])
    with pytest.raises(ValueError, match=sentence):
        loader.limits = limits


def test_an_iterator_that_runs_only_once_cannot_cycle():
    with pytest.raises(ValueError, match="Loader 0 of 2 gives no batches"):
        list(CombinedLoader([iter([1]), range(3)], "max_size_cycle"))
