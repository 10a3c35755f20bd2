import io
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lt_data import ResumableSampler, TensorLoader
from lt_interfaces import Stateful
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

OPTIONS = {
    "samples": st.integers(1, 20),
    "batch_size": st.integers(1, 7),
    "shuffle": st.booleans(),
    "drop_last": st.booleans(),
    "generator": st.sampled_from(["global", "own", "global by name"]),
}


def tensors(samples):
    return torch.arange(samples * 3, dtype=torch.float16).view(samples, 3), torch.arange(samples) * 10


def generator(kind):
    if kind == "own":
        return torch.Generator().manual_seed(7)
    return torch.default_generator if kind == "global by name" else None


def fast(samples, **options):
    return TensorLoader(*tensors(samples), **{**options, "generator": generator(options.get("generator"))})


def usual(samples, **options):
    data = TensorDataset(*tensors(samples))
    return DataLoader(data, **{**options, "generator": generator(options.get("generator"))})


def through_a_file(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def run(loader, epochs=2, most=100):
    """Batches of some epochs, with numbers that a dropout layer would draw between them."""
    torch.manual_seed(1)
    seen = []
    for _ in range(epochs):
        iterator = iter(loader)
        seen.append(torch.rand(1))
        for batch, _ in zip(iterator, range(most), strict=False):
            assert type(batch) is list
            seen += [*batch, torch.rand(1)]
        del iterator
    return [*seen, torch.rand(1), *([torch.rand(1, generator=loader.generator)] if loader.generator else [])]


def assert_same(left, right):
    assert len(left) == len(right)
    for a, b in zip(left, right, strict=True):
        assert a.dtype == b.dtype
        assert torch.equal(a, b)


@settings(deadline=None, max_examples=150)
@given(**OPTIONS)
def test_batches_and_all_random_numbers_are_those_of_a_dataloader(**options):
    assert_same(run(fast(**options)), run(usual(**options)))


@settings(deadline=None, max_examples=50)
@given(**OPTIONS, most=st.integers(0, 3))
def test_leaving_early_draws_what_a_dataloader_draws(most, **options):
    assert_same(run(fast(**options), most=most), run(usual(**options), most=most))


@settings(deadline=None, max_examples=50)
@given(**OPTIONS)
def test_the_length_is_the_number_of_batches(**options):
    assert len(fast(**options)) == len(usual(**options)) == len(list(fast(**options)))


@settings(deadline=None, max_examples=100)
@given(**OPTIONS, taken=st.integers(0, 21))
def test_a_loaded_state_continues_with_what_was_still_to_come(taken, **options):
    torch.manual_seed(3)
    loader, rest = fast(**options), []
    iterator = iter(loader)
    for _ in range(min(taken, len(loader))):
        next(iterator)
    state, numbers = through_a_file(loader.state_dict()), torch.get_rng_state()
    rest = [*(t for batch in iterator for t in batch), *(t for batch in loader for t in batch), torch.rand(1)]
    other = fast(**options)
    other.load_state_dict(state)
    torch.set_rng_state(numbers)
    again = [*(t for batch in other for t in batch), *(t for batch in other for t in batch), torch.rand(1)]
    assert_same(rest, again)


def test_the_state_of_an_iteration_that_was_left_is_the_state_before_the_next():
    loader = fast(8, batch_size=2, shuffle=True)
    for _ in loader:
        break
    assert loader.state_dict()["position"] is None
    assert isinstance(loader, Stateful)


def test_a_state_that_was_loaded_and_not_yet_used_is_saved_again():
    loader, other = fast(8, batch_size=2, shuffle=True), fast(8, batch_size=2, shuffle=True)
    iterator = iter(loader)
    next(iterator)
    other.load_state_dict(loader.state_dict())
    assert other.state_dict()["position"]["start"] == 2
    other.reset()
    assert len(list(other)) == 4


def test_unshuffled_batches_share_the_memory_of_the_data():
    x = torch.zeros(6, 2)
    (first,) = next(iter(TensorLoader(x, batch_size=3)))
    assert first.data_ptr() == x.data_ptr()


def test_a_sampler_decides_the_order_and_its_position_is_kept():
    torch.manual_seed(0)
    x = torch.arange(10)
    loader, other = (TensorLoader(x, batch_size=3, sampler=RandomSampler(x)) for _ in range(2))
    iterator = iter(loader)
    first = next(iterator)
    other.load_state_dict(loader.state_dict())
    rest = [b[0] for b in iterator]
    assert sorted(torch.cat([*first, *rest]).tolist()) == list(range(10))
    assert_same(rest, [b[0] for b in other])


def test_ranks_share_the_samples_through_a_sampler():
    x = torch.arange(10)
    loaders = [TensorLoader(x, batch_size=2, sampler=ResumableSampler(x, rank=r, world_size=2)) for r in range(2)]
    assert [len(loader) for loader in loaders] == [3, 3]
    assert sorted(torch.cat([b[0] for loader in loaders for b in loader]).tolist()) == list(range(10))


def test_a_loader_can_be_pickled_while_it_is_iterated():
    loader = fast(6, batch_size=2)
    iterator = iter(loader)
    next(iterator)
    assert len(list(pickle.loads(pickle.dumps(loader)))) == 3


def test_a_state_of_other_data_is_refused():
    with pytest.raises(ValueError, match="The state is of 6 samples, but there are 7"):
        fast(7).load_state_dict(fast(6).state_dict())


@pytest.mark.parametrize(
    ("given_tensors", "options", "error", "sentence"),
    [
        ((), {}, TypeError, "Give one or more tensors"),
        (([1, 2],), {}, TypeError, "got \\['list'\\]"),
        ((torch.zeros(2), torch.zeros(3)), {}, ValueError, "same first dimension"),
        ((torch.tensor(1.0),), {}, ValueError, "same first dimension"),
        ((torch.zeros(2),), {"batch_size": 0}, ValueError, "`batch_size` got 0"),
        ((torch.zeros(2),), {"shuffle": True, "sampler": [0]}, ValueError, "Leave one of them out"),
    ],
)
def test_wrong_arguments_are_refused(given_tensors, options, error, sentence):
    with pytest.raises(error, match=sentence):
        TensorLoader(*given_tensors, **options)


@pytest.mark.gpu
def test_tensors_on_a_gpu_give_batches_there_in_the_same_order():
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    x = torch.arange(10)
    torch.manual_seed(0)
    here = [b[0] for b in TensorLoader(x, batch_size=3, shuffle=True)]
    torch.manual_seed(0)
    there = [b[0] for b in TensorLoader(x.cuda(), batch_size=3, shuffle=True)]
    assert_same(here, [b.cpu() for b in there])
