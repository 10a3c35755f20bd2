import logging

import pytest
import torch
from lt_callbacks import ModelPruning
from lt_interfaces import MisconfigurationException
from torch import nn
from torch.nn.utils import prune


def zeros(module):
    return sum(int((p == 0).sum()) for p in module.parameters())


def pruned(loop_of, module, *args, epochs=2, **kwargs):
    callback = ModelPruning(*args, use_lottery_ticket_hypothesis=False, **kwargs)
    return loop_of(module, callback, max_epochs=epochs).fit()


def test_each_epoch_prunes_a_share_of_what_is_left(loop_of, small):
    total = sum(p.numel() for p in small.parameters())
    pruned(loop_of, small, "l1_unstructured", amount=0.5)
    assert zeros(small) == pytest.approx(total * 0.75, abs=1)
    assert sorted(small.state_dict()) == ["0.bias", "0.weight", "2.bias", "2.weight"]


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("random_unstructured", {"use_global_unstructured": False}),
        ("random_structured", {"use_global_unstructured": False, "pruning_dim": 0}),
        ("ln_structured", {"use_global_unstructured": False, "pruning_dim": 0, "pruning_norm": 2}),
        (prune.L1Unstructured, {}),
        (prune.L1Unstructured, {"use_global_unstructured": False}),
    ],
)
def test_every_method_prunes(loop_of, method, options):
    module = nn.Linear(4, 8)
    pruned(loop_of, module, method, parameter_names=["weight"], amount=0.5, epochs=1, **options)
    assert int((module.weight == 0).sum()) == 16


def test_amount_and_moment_may_depend_on_the_epoch(loop_of):
    module = nn.Linear(4, 8, bias=False)
    pruned(loop_of, module, "l1_unstructured", amount=lambda e: 4 * e, apply_pruning=lambda e: e != 1, epochs=3)
    assert zeros(module) == 8


def test_the_winning_ticket_has_its_first_values(loop_of):
    module = nn.Linear(4, 8, bias=False)
    first = module.weight.detach().clone()
    loop_of(module, ModelPruning("l1_unstructured", amount=0.5)).fit()
    kept = module.weight != 0
    assert torch.equal(module.weight[kept], first[kept])


def test_a_ticket_may_be_drawn_anew_and_leaves_other_parameters_alone(loop_of):
    module = nn.Linear(4, 8)
    callback = ModelPruning("l1_unstructured", [(module, "weight")], resample_parameters=True, amount=0.5)
    loop = loop_of(module, callback, optimizers=[])
    first, bias = module.weight.detach().clone(), module.bias.detach().clone()
    loop.fit()
    kept = module.weight != 0
    assert not torch.equal(module.weight[kept], first[kept])
    assert torch.equal(module.bias, bias)


def test_checkpoints_hold_plain_weights_and_masks_come_back(loop_of):
    module, again = nn.Linear(4, 8), nn.Linear(4, 8)
    callback, resumed = ModelPruning("l1_unstructured"), ModelPruning("l1_unstructured")
    loop = loop_of(module, callback).start()
    loop.epoch()
    checkpoint = {"state_dict": module.state_dict()}
    loop.call("on_save_checkpoint", checkpoint)
    again.load_state_dict(checkpoint["state_dict"])
    other = loop_of(again, resumed)
    other.call("setup", "fit")
    resumed.load_state_dict(callback.state_dict())
    other.call("on_fit_start")
    assert torch.equal(again.weight_mask, module.weight_mask)
    assert torch.equal(again.weight, module.weight_orig * module.weight_mask)


def test_pruning_may_follow_validation(loop_of):
    module = nn.Linear(4, 8)
    loop = loop_of(module, ModelPruning("l1_unstructured", prune_on_train_epoch_end=False)).start()
    loop.epoch()
    assert not hasattr(module, "weight_mask")
    loop.call("on_validation_epoch_end")
    assert hasattr(module, "weight_mask")


def test_masks_may_stay(loop_of):
    module = nn.Linear(4, 8)
    pruned(loop_of, module, "l1_unstructured", make_pruning_permanent=False)
    assert hasattr(module, "weight_mask")


def test_ranks_share_the_masks_of_rank_zero(loop_of):
    module = nn.Linear(4, 8, bias=False)
    loop = loop_of(module, ModelPruning("random_unstructured", use_lottery_ticket_hypothesis=False), world_size=2)
    loop.engine.broadcast = torch.zeros_like
    loop.fit()
    assert zeros(module) == 32


def test_totals_and_layers_are_told(loop_of, small, caplog):
    caplog.set_level(logging.INFO, "lt")
    pruned(loop_of, small, "l1_unstructured", amount=4, epochs=1, verbose=2)
    assert "Pruned weights: 0 -> 4 of 19" in caplog.text
    assert "0.weight: 0 -> " in caplog.text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pruning_fn": "l1_unstructurd"}, "Did you mean `l1_unstructured`"),
        ({"pruning_fn": "random_structured"}, "pruning_dim"),
        ({"pruning_fn": "ln_structured", "use_global_unstructured": False, "pruning_dim": 0}, "pruning_norm"),
        ({"pruning_fn": print}, "subclass"),
        ({"pruning_fn": prune.LnStructured}, "use_global_unstructured=False"),
        ({"amount": 1.5}, "`amount` got 1.5"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(MisconfigurationException, match=message):
        ModelPruning(**{"pruning_fn": "l1_unstructured", **arguments})


def test_foreign_parameters_are_refused(loop_of, small):
    with pytest.raises(MisconfigurationException, match="no parameter of `Sequential`"):
        loop_of(small, ModelPruning("l1_unstructured", [(nn.Linear(1, 1), "weight")])).start()


@pytest.mark.parametrize("amount", ["half", -0.1, 1.5, -3, None])
def test_an_amount_that_is_none_is_refused(amount):
    with pytest.raises(MisconfigurationException, match="`amount` got "):
        ModelPruning("l1_unstructured", amount=amount)


def test_nothing_in_particular_to_prune_is_everything():
    assert ModelPruning("l1_unstructured", parameters_to_prune=None)._given == ()
