from types import SimpleNamespace

import pytest
import torch
from lt_callbacks import StochasticWeightAveraging
from lt_callbacks.stochastic_weight_averaging import compute_batch_norm
from torch import nn


def trained(loop_of, module, callback, **settings):
    seen = []
    loop = loop_of(module, callback, max_epochs=6, **settings).start()
    for loop.current_epoch in range(6):
        loop.epoch()
        seen.append((round(loop.optimizers[0].param_groups[0]["lr"], 4), module[0].weight.detach().clone()))
    loop.call("on_train_end")
    return seen


def test_the_module_ends_with_the_mean_of_the_last_epochs(loop_of, small):
    seen = trained(loop_of, small, StochasticWeightAveraging(0.05, swa_epoch_start=0.5, annealing_epochs=0))
    torch.testing.assert_close(small[0].weight.detach(), torch.stack([w for _, w in seen[2:]]).mean(0))


@pytest.mark.parametrize(
    ("strategy", "rates"),
    [("linear", [0.1, 0.1, 0.1, 0.075, 0.05, 0.05]), ("cos", [0.1, 0.1, 0.1, 0.075, 0.05, 0.05])],
)
def test_the_rate_is_annealed_from_the_start_on_and_the_scheduler_rests(loop_of, small, strategy, rates):
    config = SimpleNamespace(frequency=1)
    callback = StochasticWeightAveraging(0.05, 3, annealing_epochs=2, annealing_strategy=strategy)
    seen = trained(loop_of, small, callback, lr_scheduler_configs=[config])
    assert [rate for rate, _ in seen] == rates
    assert config.frequency > 10**9


def test_the_state_survives_a_restart(loop_of, small):
    first, second = (StochasticWeightAveraging(0.05, 1) for _ in range(2))
    trained(loop_of, small, first)
    second.load_state_dict(first.state_dict())
    assert second.state_dict()["n_averaged"] == 6
    assert second.state_dict()["scheduler_state"] == {"initial_lrs": [0.1]}


def test_statistics_of_batch_normalization_are_the_mean_of_all_batches_and_nothing_is_logged():
    class Normalized(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm1d(1)

        def log(self, *args):
            raise AssertionError("logged")

        def training_step(self, batch, batch_idx):
            self.log("loss", self.norm(batch).sum())

    module = Normalized()
    batches = [torch.tensor([[1.0], [3.0]]), torch.tensor([[5.0], [5.0]])]
    step = lambda batch, batch_idx: module.training_step(batch, batch_idx)  # noqa: E731
    data, optimization = SimpleNamespace(loader=batches), SimpleNamespace(training_step=step)
    loop = SimpleNamespace(data=data, num_batches=2, optimization=optimization)
    engine = SimpleNamespace(all_reduce=lambda tensor, op: tensor)
    compute_batch_norm(SimpleNamespace(fit_loop=loop, transfer=None, engine=engine), module)
    assert (module.norm.running_mean.item(), module.norm.momentum) == (3.5, 0.1)
    with pytest.raises(AssertionError, match="logged"):
        module.log("x", 1)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"swa_lrs": 0.0}, "swa_lrs"),
        ({"swa_epoch_start": 0}, "swa_epoch_start"),
        ({"swa_epoch_start": 1.5}, "swa_epoch_start"),
        ({"annealing_strategy": "sqrt"}, "annealing_strategy"),
        ({"annealing_epochs": -1}, "annealing_epochs"),
    ],
)
def test_wrong_arguments_are_refused(arguments, name):
    with pytest.raises(ValueError, match=f"`{name}"):
        StochasticWeightAveraging(**{"swa_lrs": 0.1, **arguments})


def test_several_optimizers_and_shares_of_no_end_are_refused(loop_of, small):
    callback = StochasticWeightAveraging(0.1)
    with pytest.raises(ValueError, match="one optimizer"):
        loop_of(small, callback, optimizers=[1, 2]).start()
    with pytest.raises(ValueError, match="without `max_epochs`"):
        loop_of(small, callback, max_epochs=-1).start()
