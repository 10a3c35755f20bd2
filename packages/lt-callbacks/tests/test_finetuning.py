from types import SimpleNamespace

import pytest
import torch
from lt_callbacks import BackboneFinetuning, BaseFinetuning
from torch import nn


class Transfer(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
        self.head = nn.Linear(4, 1)

    def forward(self, x):
        return self.head(self.backbone(x))


def started(loop_of, callback, module, **settings):
    callback.setup(SimpleNamespace(current_epoch=0), module, "fit")
    return loop_of(module, callback, max_epochs=6, **settings)


def rates(loop_of, callback, **settings):
    loop, seen = started(loop_of, callback, Transfer(), **settings), []
    for loop.current_epoch in range(6):
        loop.epoch()
        seen.append([group["lr"] for group in loop.optimizers[0].param_groups])
    return seen


def test_the_backbone_joins_with_a_small_rate_and_catches_up(loop_of):
    seen = rates(loop_of, BackboneFinetuning(2, backbone_initial_ratio_lr=0.2, train_bn=False))
    assert seen == [pytest.approx(r) for r in ([0.1], [0.1], [0.1, 0.02], [0.1, 0.04], [0.1, 0.08], [0.1, 0.1])]


def test_the_rate_of_the_backbone_may_be_given_and_pass_the_other(loop_of):
    callback = BackboneFinetuning(4, lambda_func=lambda epoch: 3.0, backbone_initial_lr=0.05, should_align=False)
    assert rates(loop_of, callback)[-1] == pytest.approx([0.1, 0.15])


def test_frozen_weights_and_statistics_stay_until_then(loop_of):
    module = Transfer()
    loop = started(loop_of, BackboneFinetuning(1, train_bn=False), module)
    before = {name: value.clone() for name, value in module.backbone.state_dict().items()}
    loop.epoch()
    assert all(torch.equal(value, before[name]) for name, value in module.backbone.state_dict().items())
    loop.current_epoch = 1
    loop.epoch()
    assert not torch.equal(module.backbone[0].weight, before["0.weight"])


def test_schedulers_learn_of_the_new_group(loop_of):
    module = Transfer()
    loop = started(loop_of, BackboneFinetuning(1), module)
    scheduler = torch.optim.lr_scheduler.LambdaLR(loop.optimizers[0], lambda epoch: 0.5**epoch)
    loop.lr_scheduler_configs = [SimpleNamespace(scheduler=scheduler)]
    for loop.current_epoch in range(3):
        loop.epoch()
        scheduler.step()
    assert len(scheduler.get_last_lr()) == 2


def test_a_resumed_run_trains_what_was_trained_in_the_same_groups(loop_of):
    callback, again, module = BackboneFinetuning(1), BackboneFinetuning(1), Transfer()
    loop = started(loop_of, callback, module)
    for loop.current_epoch in range(2):
        loop.epoch()
    resumed = started(loop_of, again, Transfer())
    again.load_state_dict(callback.state_dict())
    resumed.call("on_fit_start")
    assert [len(g["params"]) for g in resumed.optimizers[0].param_groups] == [4, 2]
    assert [g["lr"] for g in resumed.optimizers[0].param_groups] == pytest.approx([0.1, 0.01])
    assert all(p.requires_grad for p in resumed.module.parameters())


def test_gradients_of_what_was_frozen_are_averaged_over_the_ranks(loop_of):
    loop = started(loop_of, BackboneFinetuning(0, train_bn=False), Transfer(), world_size=2)
    loop.engine.all_reduce = lambda gradient, op: gradient * 0 + 7
    loop.call("on_fit_start")
    loop.optimizers = []
    loop.module.requires_grad_(True)
    loop.epoch()
    assert loop.module.backbone[0].weight.grad.eq(7).all()
    assert not loop.module.head.weight.grad.eq(7).any()


def test_an_optimizer_that_has_everything_already_is_told(loop_of):
    module = Transfer()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    with pytest.warns(UserWarning, match="requires_grad"):
        BaseFinetuning.unfreeze_and_add_param_group(module.backbone, optimizer)


def test_parameters_are_found_in_any_nesting():
    module = Transfer()
    BaseFinetuning.freeze([module.head, {"a": module.backbone}.values()], train_bn=True)
    names = {id(p): name for name, p in module.named_parameters()}
    trained = [names[id(p)] for p in BaseFinetuning.filter_params(module)]
    assert trained == ["backbone.1.weight", "backbone.1.bias"]
    assert list(BaseFinetuning.filter_params(module, train_bn=False)) == []


def test_a_module_without_backbone_and_a_callback_without_methods_are_refused(loop_of, small):
    with pytest.raises(ValueError, match="has none"):
        loop_of(small, BackboneFinetuning()).start()
    with pytest.raises(NotImplementedError, match="freeze_before_training"):
        loop_of(small, BaseFinetuning()).start()
    with pytest.raises(NotImplementedError, match="finetune_function"):
        loop_of(small, BaseFinetuning()).call("on_train_epoch_start")
