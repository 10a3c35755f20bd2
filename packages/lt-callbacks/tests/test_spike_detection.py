import json

import pytest
import torch
from lt_callbacks import SpikeDetection, TrainingSpikeException


def first_spike(losses, **arguments):
    detection = SpikeDetection(**arguments)
    return next((i for i, loss in enumerate(losses) if detection.update(loss)), None)


@pytest.mark.parametrize(
    ("losses", "arguments", "spike"),
    [
        ([1, 1, 1, 10], {}, 3),
        ([1, 1, 2.9], {}, None),
        ([1, 1, 2.9], {"rtol": 1.0}, 2),
        ([1, 1, 10], {"atol": 20}, None),
        ([1, 1, 10, 9], {"atol": 8}, 2),
        ([1, 10], {"warmup": 2}, None),
        ([1, float("nan")], {}, 1),
        ([1, float("nan"), 1], {"finite_only": False}, None),
        ([10, 10, -30], {"mode": "max"}, 2),
        ([10, 10, 60], {"mode": "max"}, None),
        ([1, 1, 1, 5, 5], {"rtol": 5.0, "window": 2}, None),
    ],
)
def test_spikes_are_worse_than_before_and_far_from_the_mean(losses, arguments, spike):
    assert first_spike(losses, **arguments) == spike


def run(loop_of, small, detection, losses):
    loop = loop_of(small, detection, num_training_batches=len(losses)).start()
    for i, loss in enumerate(losses):
        loop.global_step += 1
        loop.call("on_train_batch_end", {"loss": torch.tensor(float(loss))}, None, i)
    loop.call("on_train_epoch_end")
    return loop


def test_the_exception_and_the_file_name_the_batches(loop_of, small, tmp_path):
    with pytest.raises(TrainingSpikeException, match="batch 2") as raised:
        run(loop_of, small, SpikeDetection(), [1, 1, 50, 1, 1])
    assert raised.value.batch_idx == 2
    assert json.loads((tmp_path / "skip_batches.json").read_text()) == [1, 2]


def test_an_epoch_ends_with_all_losses_judged(loop_of, small, tmp_path):
    path = tmp_path / "deeper" / "bad.json"
    with pytest.raises(TrainingSpikeException):
        run(loop_of, small, SpikeDetection(exclude_batches_path=path), [1, 1, 50])
    assert json.loads(path.read_text()) == [1, 2]


def test_a_restart_continues_the_mean_with_losses_not_judged_yet(loop_of, small):
    first, second = SpikeDetection(), SpikeDetection()
    loop = loop_of(small, first, global_step=1).start()
    for i, loss in enumerate([1, 1, 1]):
        loop.call("on_train_batch_end", torch.tensor(float(loss)), None, i)
    loop.call("on_train_epoch_end")
    loop.call("on_train_batch_end", torch.tensor(70.0), None, 3)
    second.load_state_dict(first.state_dict())
    with pytest.raises(TrainingSpikeException, match="batch 3"):
        loop_of(small, second).call("on_train_epoch_end")


@pytest.mark.parametrize("arguments", [{"mode": "up"}, {"window": 0}, {"warmup": -1}])
def test_wrong_arguments_are_refused(arguments):
    with pytest.raises(ValueError, match="`"):
        SpikeDetection(**arguments)
