import copy

import pytest
import torch
from lt_callbacks import Callback, NaNGuard
from torch import nn


class Log(nn.Module):
    def forward(self, x):
        return x.log()


def module_with_log():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3), Log(), nn.Linear(3, 1))


def batch(bad):
    return lambda step: torch.full((2, 4), torch.nan) if step in bad else torch.ones(2, 4) * (step + 1) / 8


def test_the_first_bad_module_is_named_and_the_weights_stay_good(loop_of):
    module = module_with_log()
    nn.init.constant_(module[0].weight, -1.0)
    before = module[0].weight.detach().clone()
    with pytest.raises(FloatingPointError, match=r"first in step 1\. .* is `1` \(Log\)"):
        loop_of(module, NaNGuard(), num_training_batches=8).fit()
    assert torch.equal(module[0].weight, before)


def test_a_single_bad_batch_is_dated(loop_of, small):
    with pytest.raises(FloatingPointError, match=r"first in step 3\. .*single bad batch"):
        loop_of(small, NaNGuard(), num_training_batches=8, batch=batch({2})).fit()


def test_a_bad_end_is_not_missed(loop_of, small):
    with pytest.raises(FloatingPointError, match="first in step 5"):
        loop_of(small, NaNGuard(), num_training_batches=5, batch=batch({4})).fit()


def test_skipped_steps_are_counted_and_told_once(loop_of, small):
    guard = NaNGuard("skip")
    loop = loop_of(small, guard, num_training_batches=12, batch=batch({2, 3, 4, 7, 8}))
    with pytest.warns(UserWarning, match=r"first in step 3\. .* is `0` \(Linear\)") as warned:
        loop.fit()
    assert len(warned) == 1
    assert (loop.records[-1], guard.state_dict()) == ({"step": 10, "skipped_steps": 5}, {"skipped": 5})
    assert all(p.isfinite().all() for p in small.parameters())


def test_good_runs_change_no_bit(loop_of, small):
    plain = copy.deepcopy(small)
    loop_of(small, NaNGuard("skip"), num_training_batches=6).fit()
    loop_of(plain, Callback(), num_training_batches=6).fit()
    assert all(map(torch.equal, small.parameters(), plain.parameters()))


def test_hooks_are_gone_afterwards(loop_of, small):
    with pytest.raises(FloatingPointError):
        loop_of(small, NaNGuard(), batch=batch(range(9))).fit()
    assert not any(m._forward_hooks for m in small.modules())


def test_spoilt_weights_are_named(loop_of, small):
    nn.init.constant_(small[2].bias, torch.inf)
    with pytest.raises(FloatingPointError, match=r"is `2` \(Linear\)\. Not finite are the weights `2\.bias`"):
        loop_of(small, NaNGuard()).fit()


def test_under_a_scaler_only_the_loss_is_judged(loop_of, small):
    loop = loop_of(small, NaNGuard()).start()
    loop.engine.scaler = object()
    small[0].weight.grad = torch.full((3, 4), torch.inf)
    loop.call("on_before_backward", torch.zeros(()))
    loop.call("on_before_optimizer_step", loop.optimizers[0])
    loop.global_step = 2
    loop.call("on_train_batch_end", None, None, 0)
    assert small[0].weight.grad.isinf().all()


def test_other_policies_are_refused():
    with pytest.raises(ValueError, match="Known: `raise`, `rollback`, `skip`"):
        NaNGuard("ignore")
