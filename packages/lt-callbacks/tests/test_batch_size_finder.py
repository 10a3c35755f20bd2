"""The search for the largest size, and what happens around it."""

import weakref
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lt_callbacks import BatchSizeFinder
from lt_callbacks.batch_size_finder import largest


@given(limit=st.integers(0, 5000), first=st.integers(1, 300), most=st.integers(1, 4000))
def test_bisecting_finds_the_largest_size_there_is(limit, first, most):
    tried = []
    found = largest(lambda size: tried.append(size) or size <= limit, first, lambda: most, 100, bisects=True)
    assert found == min(limit, most)
    assert len(set(tried)) == len(tried) < 30
    assert max(tried) <= most


@given(limit=st.integers(0, 5000), first=st.integers(1, 300), most=st.integers(1, 4000))
def test_doubling_ends_within_a_factor_of_two_of_it(limit, first, most):
    found = largest(lambda size: size <= limit, first, lambda: most, 100, bisects=False)
    assert found <= min(limit, most) <= 2 * found or found == limit == 0


def test_no_more_sizes_are_tried_than_allowed():
    tried = []
    assert largest(lambda size: tried.append(size) is None, 2, lambda: 8192, 3, bisects=False) == 8
    assert tried == [2, 4, 8]


class Big:
    """Something large that a failed step holds."""


class Trainer:
    """Runs trials of a step that holds something big and fails above a size; nothing else of a trainer."""

    def __init__(self, module, most=20, fn="fit", error=None):
        self.module, self.most, self.fn = module, most, fn
        self.error = error or RuntimeError("CUDA out of memory.")
        self.world_size, self.fast_dev_run, self.accumulate_grad_batches, self.datamodule = 1, False, 1, None
        self.engine = SimpleNamespace(device=torch.device("cpu"))
        self.held, self.requests = [], 0
        source = SimpleNamespace(is_given=False)
        self.fit_loop = self.validate_loop = SimpleNamespace(source=source, given=None)

    def trial(self, batches):
        size = self.module.batch_size

        def step():
            big = Big()
            self.held.append(weakref.ref(big))
            if size > self.most:
                raise self.error

        step()
        loop = SimpleNamespace(given=SimpleNamespace(batch_size=size, dataset=range(1000)))
        return SimpleNamespace(fn=self.fn, fit_loop=loop, validate_loop=loop)

    def request_anew(self):
        self.requests += 1


def test_what_a_failed_step_held_is_let_go_of():
    module = SimpleNamespace(batch_size=4)
    trainer = Trainer(module)
    BatchSizeFinder().scale_batch_size(trainer, module)
    assert module.batch_size == 16
    assert [big for big in trainer.held if big() is not None] == []


@pytest.mark.parametrize(
    ("arguments", "size"), [({"mode": "binsearch"}, 19), ({"max_val": 10}, 10), ({"init_val": 3}, 12)]
)
def test_modes_and_limits(arguments, size):
    module = SimpleNamespace(batch_size=4)
    finder = BatchSizeFinder(**arguments)
    finder.scale_batch_size(Trainer(module), module)
    assert module.batch_size == finder.optimal_batch_size == size


def test_no_size_is_larger_than_the_dataset():
    module = SimpleNamespace(batch_size=4)
    BatchSizeFinder().scale_batch_size(Trainer(module, most=5000), module)
    assert module.batch_size == 1000


def test_loaders_of_an_evaluation_are_made_anew():
    module = SimpleNamespace(batch_size=4)
    trainer = Trainer(module, fn="validate")
    BatchSizeFinder().on_validation_start(trainer, module)
    assert (module.batch_size, trainer.requests) == (16, 1)
    trainer.fn = "fit"
    BatchSizeFinder().on_validation_start(trainer, module)
    assert trainer.requests == 1


def test_other_errors_come_through_and_the_size_is_as_it_was():
    module = SimpleNamespace(batch_size=4)
    with pytest.raises(ValueError, match="shapes"):
        BatchSizeFinder().scale_batch_size(Trainer(module, error=ValueError("shapes")), module)
    assert module.batch_size == 4


def test_a_resumed_fit_takes_the_size_that_it_had():
    module = SimpleNamespace(batch_size=4)
    finder = BatchSizeFinder()
    finder.on_fit_start(Trainer(module), module)
    resumed, again = BatchSizeFinder(), SimpleNamespace(batch_size=4)
    resumed.load_state_dict(finder.state_dict())
    trainer = Trainer(again)
    resumed.on_fit_start(trainer, again)
    assert (again.batch_size, trainer.held) == (16, [])


def test_several_processes_given_loaders_and_missing_names_are_refused():
    module = SimpleNamespace(batch_size=4)
    trainer = Trainer(module)
    with pytest.raises(ValueError, match=r"have no `size`|has no `size`"):
        BatchSizeFinder(batch_arg_name="size").setup(trainer, module, "fit")
    trainer.fit_loop.source.is_given = True
    with pytest.raises(ValueError, match="was given loaders, whose size is fixed"):
        BatchSizeFinder().setup(trainer, module, "fit")
    trainer.world_size = 2
    with pytest.raises(ValueError, match="with 2 processes, of which one that runs out of memory"):
        BatchSizeFinder().setup(trainer, module, "fit")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mode": "powers"}, "Did you mean `power`"),
        ({"margin": 1.0}, "`margin` is a share of the size, got 1.0"),
        ({"init_val": 0}, "`init_val` must be at least 1, got 0"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        BatchSizeFinder(**arguments)
