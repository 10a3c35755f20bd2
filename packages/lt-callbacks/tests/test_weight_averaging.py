import pytest
import torch
from lt_callbacks import EMAWeightAveraging, LambdaCallback, WeightAveraging
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def weights(module):
    return [p.detach().clone() for p in module.parameters()]


def reference(loop_of, module, **averages):
    average = AveragedModel(module, **averages)
    watch = LambdaCallback(on_train_batch_end=lambda *_: average.update_parameters(module))
    loop_of(module, watch).fit()
    return average.module


@pytest.mark.parametrize(
    ("callback", "averages"),
    [(WeightAveraging(), {}), (EMAWeightAveraging(decay=0.9), {"multi_avg_fn": get_ema_multi_avg_fn(0.9)})],
)
def test_averages_are_those_of_torch(loop_of, small, callback, averages):
    expected = reference(loop_of, small, **averages)
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1))
    loop_of(module, callback).fit()
    for mine, theirs in zip(module.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_validation_sees_the_average_and_training_goes_on_with_its_own_weights(loop_of, small):
    callback = WeightAveraging()
    loop = loop_of(small, callback).start()
    loop.epoch()
    live = weights(small)
    loop.call("on_validation_epoch_start")
    assert not torch.equal(weights(small)[0], live[0])
    loop.call("on_validation_epoch_end")
    assert all(map(torch.equal, weights(small), live))


def test_before_the_first_update_nothing_changes(loop_of, small):
    callback = EMAWeightAveraging(update_starting_at_step=100)
    loop = loop_of(small, callback).start()
    loop.epoch()
    live = weights(small)
    loop.call("on_validation_epoch_start")
    assert all(map(torch.equal, weights(small), live))


def test_an_exception_leaves_the_weights_in_training(loop_of, small):
    loop = loop_of(small, WeightAveraging()).start()
    loop.epoch()
    live = weights(small)
    loop.call("on_validation_epoch_start")
    loop.call("on_exception", RuntimeError())
    assert all(map(torch.equal, weights(small), live))


def test_a_checkpoint_holds_the_average_and_the_weights_in_training(loop_of, small):
    loop = loop_of(small, WeightAveraging()).start()
    loop.epoch()
    checkpoint = {"state_dict": small.state_dict()}
    loop.call("on_save_checkpoint", checkpoint)
    assert torch.equal(checkpoint["current_model_state"]["0.weight"], small[0].weight)
    assert not torch.equal(checkpoint["state_dict"]["0.weight"], small[0].weight)
    assert checkpoint["averaging_state"]["n_averaged"] == 4


def test_tied_weights_are_averaged_under_all_their_names(loop_of):
    module = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    module[1].weight = module[0].weight
    loop = loop_of(module, WeightAveraging()).start()
    loop.epoch()
    checkpoint = {"state_dict": module.state_dict()}
    loop.call("on_save_checkpoint", checkpoint)
    assert torch.equal(checkpoint["state_dict"]["0.weight"], checkpoint["state_dict"]["1.weight"])


def test_a_file_without_an_average_begins_one(loop_of, small):
    loop = loop_of(small, WeightAveraging()).start()
    with pytest.warns(UserWarning, match="holds no average"):
        loop.call("on_load_checkpoint", {"state_dict": small.state_dict()})


def test_half_precision_is_averaged_in_full(loop_of):
    module = nn.Linear(4, 1, bias=False).bfloat16()
    nn.init.zeros_(module.weight)
    callback = EMAWeightAveraging(decay=0.999)
    loop = loop_of(module, callback, optimizers=[], batch=lambda step: torch.ones(2, 4, dtype=torch.bfloat16)).start()
    loop.epoch()
    nn.init.ones_(module.weight)
    loop.epoch()
    checkpoint = {"state_dict": module.state_dict()}
    loop.call("on_save_checkpoint", checkpoint)
    torch.testing.assert_close(checkpoint["state_dict"]["weight"], torch.full((1, 4), 1 - 0.999**4))


@pytest.mark.parametrize("use_buffers", [True, False])
def test_buffers_are_averaged_or_copied(loop_of, use_buffers):
    module = nn.BatchNorm1d(4)
    loop = loop_of(module, WeightAveraging(use_buffers=use_buffers)).start()
    loop.epoch()
    checkpoint = {"state_dict": module.state_dict()}
    loop.call("on_save_checkpoint", checkpoint)
    assert torch.equal(checkpoint["state_dict"]["running_mean"], module.running_mean) is not use_buffers
    assert checkpoint["state_dict"]["num_batches_tracked"] == 4


def test_an_epoch_that_is_cut_short_does_not_count(loop_of, small):
    class Epochs(WeightAveraging):
        def should_update(self, step_idx=None, epoch_idx=None):
            return epoch_idx is not None

    loop = loop_of(small, Epochs()).start()
    loop.progress.batch = 2
    loop.call("on_train_epoch_end")
    checkpoint = {"state_dict": small.state_dict()}
    loop.call("on_save_checkpoint", checkpoint)
    assert checkpoint["averaging_state"]["n_averaged"] == 0


def test_ema_updates_are_chosen_by_step_and_epoch():
    ema = EMAWeightAveraging(update_every_n_steps=3, update_starting_at_step=4, update_starting_at_epoch=2)
    assert [step for step in range(10) if ema.should_update(step_idx=step)] == [6, 9]
    assert [epoch for epoch in range(4) if ema.should_update(epoch_idx=epoch)] == [2, 3]
    with pytest.raises(ValueError, match="`decay`"):
        EMAWeightAveraging(decay=2)
