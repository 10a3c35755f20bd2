"""Batches from any position: the same as those of a whole epoch, and none loaded that came before."""

import random

import pytest
import torch
from lt_loops import rng
from lt_loops.feed import Feed
from torch.utils.data import DataLoader, Dataset, IterableDataset

INF = float("inf")


class Noisy(Dataset):
    loaded = 0

    def __len__(self):
        return 23

    def __getitem__(self, index):
        Noisy.loaded += 1
        return index, torch.rand(()), random.random()


def loader(**options):
    return DataLoader(Noisy(), **{"batch_size": 3, "shuffle": True, **options})


def plain(batches):
    return [[torch.as_tensor(part).tolist() for part in batch] for batch in batches]


def continued(make, position, epochs_before=0):
    """The rest of an epoch as it was, and as another process would give it."""
    torch.manual_seed(1)
    first = Feed(make(), INF)
    for _ in range(epochs_before):
        list(first.start(0))
    begun = rng.capture(first.generators)
    batches = first.start(0)
    for _ in range(position):
        next(batches)
    state, now = first.state_dict(within_epoch=True), rng.capture(first.generators)
    rest = plain(batches)
    torch.manual_seed(99)
    second = Feed(make(), INF)
    stateful = second.load_state_dict(state)
    rng.restore(begun, () if stateful else second.generators)
    Noisy.loaded = 0
    again = second.start(position, stateful)
    rng.restore(now)
    return rest, plain(again)


@pytest.mark.parametrize("position", [1, 5, 7])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"generator": 3},
        {"num_workers": 2},
        {"num_workers": 2, "persistent_workers": True},
        {"batch_size": None, "num_workers": 2},
        {"shuffle": False, "drop_last": True},
    ],
    ids=str,
)
def test_the_rest_of_an_epoch_is_the_same_in_another_process(options, position):
    def make():
        own = {"generator": torch.Generator().manual_seed(options["generator"])} if "generator" in options else {}
        return loader(**{**options, **own})

    before = 1 if options.get("persistent_workers") else 0
    rest, again = continued(make, position, before)
    assert again == rest
    assert rest or options.get("drop_last")


def test_samples_before_the_position_are_not_loaded():
    continued(loader, 6)
    assert Noisy.loaded == 23 - 6 * 3


class Stream(IterableDataset):
    def __iter__(self):
        return iter(range(10))


def test_a_stream_without_a_state_is_drawn_again_and_that_is_said_once(caplog):
    feed = Feed(DataLoader(Stream(), 2), 4)
    with caplog.at_level("INFO", logger="lt"):
        assert [b.tolist() for b in feed.start(3)] == [[6, 7]]
        assert [b.tolist() for b in feed.start(2)] == [[4, 5], [6, 7]]
    assert len([r for r in caplog.records if "the 3 batches before the position" in r.message]) == 1


class Remembering:
    """A loader with a state of its own."""

    def __init__(self):
        self.position = 0

    def __iter__(self):
        start, self.position = self.position, 0
        for self.position in range(start + 1, 6):
            yield torch.tensor([self.position])
        self.position = 0

    def state_dict(self):
        return {"position": self.position}

    def load_state_dict(self, state):
        self.position = state["position"]


def test_a_loader_with_a_state_goes_on_from_it():
    rest, again = continued(Remembering, 2)
    assert rest == again == [[3], [4], [5]]


def test_a_limit_holds_for_the_whole_epoch():
    assert len(list(Feed(loader(), 5).start(3))) == 2
    assert len(list(Feed(loader(num_workers=2), 5).start(3))) == 2
