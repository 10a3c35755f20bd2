from hypothesis import given
from hypothesis import strategies as st
from lt_accel.sharding import ShardedSampler, sharded
from lt_accel.wrappers import FabricLoader
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    Sampler,
    WeightedRandomSampler,
)

sizes = st.integers(0, 30)
worlds = st.integers(1, 5)


def ids(loader):
    return [i for batch in loader for i in batch.tolist()]


def interleaved(shares):
    return [x[i] for i in range(max(map(len, shares))) for x in shares if i < len(x)]


@given(sizes, worlds, st.integers(1, 4))
def test_uneven_shares_hold_each_sample_once_in_order(size, world, batch_size):
    shares = [ids(sharded(DataLoader(range(size), batch_size=batch_size), world, r, even=False)) for r in range(world)]
    assert interleaved(shares) == list(range(size))


@given(st.integers(1, 30), worlds)
def test_even_shares_are_equally_long_and_leave_nothing_out(size, world):
    loaders = [sharded(DataLoader(range(size), shuffle=True), world, r) for r in range(world)]
    shares = [ids(x) for x in loaders]
    assert {len(s) for s in shares} == {len(x) for x in loaders} == {-(-size // world)}
    assert set(interleaved(shares)) == set(range(size))


@given(sizes, worlds, st.booleans())
def test_samplers_of_unknown_length_are_dealt_out_the_same(size, world, even):
    known, unknown = list(range(size)), [iter(range(size)) for _ in range(world)]
    for rank, source in enumerate(unknown):
        assert list(ShardedSampler(source, world, rank, even)) == list(ShardedSampler(known, world, rank, even))


def test_training_order_is_the_users_shuffled_or_not():
    assert ids(sharded(DataLoader(range(6), batch_size=2), 2, 0)) == [0, 2, 4]
    loaders = [sharded(DataLoader(range(20), shuffle=True), 2, r) for r in range(2)]
    first = [ids(x) for x in loaders]
    assert sorted(interleaved(first)) == list(range(20)) != interleaved(first)
    for x in loaders:
        x.sampler.set_epoch(1)
    assert sorted(interleaved([ids(x) for x in loaders])) == list(range(20))
    assert [ids(x) for x in loaders] != first


def test_a_custom_sampler_is_wrapped_and_drawn_alike_on_every_rank():
    sampler = WeightedRandomSampler([1.0] * 50, 10)
    loaders = [sharded(DataLoader(range(50), sampler=sampler), 2, r) for r in range(2)]
    assert all(x.sampler.sampler is sampler for x in loaders)
    first, second = (interleaved([ids(x) for x in loaders]) for _ in range(2))
    for each in loaders:
        each.sampler.set_epoch(0)
    assert first == interleaved([ids(x) for x in loaders]) != second


class Lengthy(Sampler):
    """A batch sampler with arguments of its own."""

    def __init__(self, batches, secret):
        self.batches, self.secret = batches, secret

    def __iter__(self):
        return iter(self.batches)

    def __len__(self):
        return len(self.batches)


def test_a_batch_sampler_is_kept_and_its_batches_are_dealt_out():
    batches = Lengthy([[0], [1, 2], [3, 4, 5]], secret=7)
    loaders = [sharded(DataLoader(range(6), batch_sampler=batches), 2, r, even=False) for r in range(2)]
    assert [[b.tolist() for b in x] for x in loaders] == [[[0], [3, 4, 5]], [[1, 2]]]
    assert loaders[0].batch_sampler.sampler is batches
    assert loaders[0].batch_sampler.secret == 7


class OwnLoader(DataLoader):
    made = 0

    def __init__(self, dataset, secret, **kwargs):
        type(self).made += 1
        self.secret = secret
        super().__init__(dataset, **kwargs)


def test_a_loader_class_of_the_users_is_copied_and_not_made_again():
    given = OwnLoader(range(8), "s", batch_size=3, drop_last=True, timeout=0, collate_fn=list, pin_memory=False)
    share = sharded(given, 2, 1)
    assert (type(share), share.secret, OwnLoader.made) == (OwnLoader, "s", 1)
    assert list(share) == [[1, 3, 5]]
    assert list(given) == [[0, 1, 2], [3, 4, 5]]


def test_what_is_sharded_already_or_has_no_sampler_is_left_alone():
    class Stream(IterableDataset):
        def __iter__(self):
            return iter(range(3))

    own = DataLoader(range(4), sampler=DistributedSampler(range(4), 2, 0))
    nested = DataLoader(range(4), batch_sampler=BatchSampler(DistributedSampler(range(4), 2, 0), 2, False))
    for loader in (own, nested, DataLoader(Stream()), [1, 2], sharded(DataLoader(range(4)), 2, 0)):
        assert sharded(loader, 2, 0) is loader


def test_workers_of_other_ranks_draw_other_numbers():
    import torch

    class Noise:
        def __len__(self):
            return 2

        def __getitem__(self, i):
            return torch.rand(1)

    def draw(rank):
        torch.manual_seed(3)
        loader = DataLoader(Noise(), num_workers=1, sampler=RandomSampler(Noise(), num_samples=4))
        return (
            torch.cat(list(sharded(loader, 2, rank))).tolist() if rank is not None else torch.cat(list(loader)).tolist()
        )

    assert draw(0) == draw(None)[:2]
    assert draw(0) != draw(1)


def test_a_fabric_loader_counts_epochs_unless_somebody_else_does():
    loader = FabricLoader(sharded(DataLoader(range(4), shuffle=True), 2, 0), None)
    epochs = []
    for _ in range(3):
        list(loader)
        epochs.append(loader.sampler.epoch)
    loader.sampler.set_epoch(9)
    list(loader)
    assert [*epochs, loader.sampler.epoch] == [0, 1, 2, 9]
    assert len(loader) == 2
