"""What becomes of a logged value: names, reductions, weights, memory and errors."""

import gc
import weakref
from dataclasses import dataclass

import pytest
import torch
from lt_loops.collection import EVAL_STEP, TRAIN_STEP, Collection
from lt_loops.engine import SingleDevice
from lt_loops.recorder import Recorder


@pytest.fixture
def recorder():
    r = Recorder(SingleDevice())
    r.at_steps(TRAIN_STEP)
    r.next_batch(torch.zeros(4, 2))
    return r


def evaluating(loaders=1):
    r = Recorder(SingleDevice())
    r.enter(Collection("validate", loaders=[{} for _ in range(loaders)]))
    r.at_steps(EVAL_STEP)
    return r


def test_a_training_value_is_by_step_unless_told_otherwise(recorder):
    recorder.log("loss", torch.tensor(2.0))
    assert recorder.step_record() == {"loss": 2.0}
    assert recorder.end_epoch() == {}


def test_a_step_of_one_loader_records_nothing_of_another():
    r = evaluating(loaders=2)
    r.next_batch(torch.zeros(1, 2))
    r.log("a", torch.tensor(1.0), on_step=True, on_epoch=False)
    r.at_steps(EVAL_STEP, 1)
    r.next_batch(torch.zeros(1, 2))
    r.log("a", torch.tensor(2.0), on_step=True, on_epoch=False)
    assert r.step_record() == {"a/dataloader_idx_1": 2.0}


def test_hooks_of_the_epochs_end_see_what_is_logged_for_it(recorder):
    recorder.log("loss", torch.tensor(2.0), on_step=False, on_epoch=True)
    recorder.reduce()
    assert recorder.logged == {"loss": 2.0}


def test_step_and_epoch_fork_the_name(recorder):
    recorder.log("loss", torch.tensor(2.0), on_step=True, on_epoch=True)
    recorder.next_batch(torch.zeros(1, 2))
    recorder.log("loss", torch.tensor(7.0), on_step=True, on_epoch=True)
    assert recorder.step_record() == {"loss_step": 7.0}
    assert recorder.end_epoch() == {"loss_epoch": 3.0}
    assert float(recorder.callback_metrics["loss"]) == 3.0


@pytest.mark.parametrize(
    ("fx", "expected"), [("mean", 3.0), ("sum", 9.0), ("min", 2.0), ("max", 7.0), (torch.max, 7.0)]
)
def test_reductions_over_an_epoch(fx, expected):
    r = evaluating()
    for size, value in ((4, 2.0), (1, 7.0)):
        r.next_batch(torch.zeros(size, 2))
        r.log("v", torch.tensor(value), reduce_fx=fx)
    assert r.end_epoch() == {"v": expected}


def test_a_reduction_of_ones_own_sees_all_values():
    r = evaluating()
    for value in (1.0, 2.0, 9.0):
        r.next_batch(None)
        r.log("v", value, reduce_fx=torch.median, batch_size=1)
    assert r.end_epoch() == {"v": 2.0}


def test_several_loaders_get_a_suffix_each():
    r = evaluating(2)
    for i in (0, 1):
        r.at_steps(EVAL_STEP, i)
        r.next_batch(torch.zeros(2))
        r.log("acc", float(i))
    r.at_epoch("on_validation_epoch_end")
    r.log("both", 5.0)
    r.reduce()
    assert [{k: float(v) for k, v in row.items()} for row in r.results()] == [
        {"acc/dataloader_idx_0": 0.0, "both": 5.0},
        {"acc/dataloader_idx_1": 1.0, "both": 5.0},
    ]


def test_a_name_logged_from_two_lines_is_an_error_that_names_both(recorder):
    recorder.log("loss", 1.0)
    with pytest.raises(ValueError, match=r"`loss` is logged twice.*test_recorder.py:\d+.*test_recorder.py:\d+"):
        recorder.log("loss", 2.0)


def test_a_name_logged_by_step_and_by_epoch_hook_collides(recorder):
    recorder.log("loss", 1.0)
    recorder.at_epoch("on_train_epoch_end")
    with pytest.raises(ValueError, match=r"two places"):
        recorder.log("loss", 2.0)


def test_a_closure_that_runs_twice_may_log_twice(recorder):
    for _ in range(2):
        recorder.log("loss", 1.0)
    assert recorder.step_record() == {"loss": 1.0}


def test_logging_outside_the_loops_is_an_error(recorder):
    recorder.close("on_train_end")
    with pytest.raises(ValueError, match="Log from a step"):
        recorder.log("loss", 1.0)


@pytest.mark.parametrize("value", [torch.zeros(3), "text", {"a": 1}])
def test_what_is_not_one_number_is_refused(recorder, value):
    with pytest.raises(ValueError, match="Log one number"):
        recorder.log("loss", value)


def test_a_batch_without_size_asks_for_one():
    r = evaluating()
    r.next_batch(object())
    with pytest.raises(ValueError, match="batch_size=n"):
        r.log("v", 1.0)


def test_a_logged_value_lets_its_graph_go(recorder):
    weight = torch.ones(2, requires_grad=True)
    middle = weight * 2
    recorder.log("loss", middle.sum())
    graph = weakref.ref(middle)
    del middle
    gc.collect()
    assert graph() is None


def test_a_buffer_changed_after_logging_keeps_its_logged_value(recorder):
    buffer = torch.ones(())
    recorder.log("norm", buffer)
    buffer.add_(1)
    assert recorder.step_record() == {"norm": 1.0}


class Accuracy:
    """Accumulates itself, as torchmetrics' objects do."""

    def __init__(self):
        self.hits, self.seen, self.computed = 0, 0, 0

    def update(self, hits, seen):
        self.hits, self.seen = self.hits + hits, self.seen + seen

    def compute(self):
        self.computed += 1
        return torch.tensor(self.hits / self.seen)

    def reset(self):
        self.hits = self.seen = 0


def test_a_metric_object_is_computed_once_and_reset():
    r, metric = evaluating(), Accuracy()
    for hits in (1, 3):
        r.next_batch(torch.zeros(4))
        metric.update(hits, 4)
        r.log("acc", metric)
    assert r.end_epoch() == {"acc": 0.5}
    assert (metric.computed, metric.seen) == (1, 0)


def test_values_are_read_only_when_asked_for(recorder):
    reads = []

    class Counting(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            reads.append(func) if "_local_scalar_dense" in str(func) else None
            return func(*args, **(kwargs or {}))

    with Counting():
        for _ in range(20):
            recorder.next_batch(torch.zeros(4, 2))
            recorder.log("loss", torch.ones(()), prog_bar=True, on_epoch=True)
        assert reads == []
        recorder.step_record()
    assert len(reads) == 1


def test_a_value_stays_what_it_was_when_it_was_logged(recorder):
    scale = torch.nn.Parameter(torch.tensor(1.0))
    for i in range(4):
        recorder.next_batch(torch.zeros(4, 2))
        loss = scale * 3.0
        recorder.log("scale", scale)
        recorder.log("loss", loss)
        recorder.log("part", scale.view(1))
        loss += 1.0
        with torch.no_grad():
            scale += 1.0
        assert recorder.step_record() == {"scale": 1.0 + i, "loss": 3.0 + 3.0 * i, "part": 1.0 + i}


def test_results_that_nobody_writes_into_are_not_copied(recorder):
    weight = torch.ones((), requires_grad=True)
    for _ in range(3):
        recorder.next_batch(torch.zeros(4, 2))
        loss = weight * 2.0
        recorder.log("loss", loss)
    assert recorder.train.loaders[0]["loss"].value.data_ptr() == loss.data_ptr()


def test_a_tensor_changed_where_none_was_before_is_an_error_and_no_wrong_number(recorder):
    weight = torch.ones((), requires_grad=True)
    for i in range(3):
        recorder.next_batch(torch.zeros(4, 2))
        loss = weight * 2.0
        recorder.log("loss", loss)
        if i == 2:
            loss += 1.0
    with pytest.raises(RuntimeError, match=r"`loss` at .*test_recorder.py:\d+ was changed in place"):
        recorder.step_record()


def test_a_reduction_of_ones_own_gets_the_values_as_they_were():
    r = evaluating()
    value = torch.zeros(())
    for _ in range(3):
        r.next_batch(torch.zeros(4, 2))
        value += 1.0
        r.log("v", value, reduce_fx=torch.median)
    assert r.end_epoch() == {"v": 2.0}


def test_what_an_epoch_hook_logs_can_be_read_in_the_same_hook():
    r = evaluating()
    r.at_epoch("on_validation_epoch_end")
    r.log("f1", 0.5)
    assert r.callback_metrics["f1"] == 0.5
    assert r.end_epoch() == {"f1": 0.5}


def test_a_dataclass_has_the_size_of_its_first_tensor():
    @dataclass
    class Batch:
        names: list[str]
        images: torch.Tensor

    r = evaluating()
    for size, value in ((4, 2.0), (1, 7.0)):
        r.next_batch(Batch(["a"] * size, torch.zeros(size, 2)))
        r.log("v", value)
    assert r.end_epoch() == {"v": 3.0}


def test_step_values_that_no_logger_got_yet_stay_readable(recorder):
    recorder.log("loss", 2.0, on_step=True, on_epoch=True)
    recorder.end_epoch()
    assert recorder.logged == {"loss_step": 2.0, "loss_epoch": 2.0}
