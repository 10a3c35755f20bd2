import pytest
import torch
from lt_checkpoint.weights import WeightsMismatch, load_weights
from lt_interfaces import CheckpointError
from torch import nn


class Adapted(nn.Module):
    def __init__(self, width=3):
        super().__init__()
        self.base = nn.Linear(2, width)
        self.lora_a, self.lora_b = nn.Linear(2, 1), nn.Linear(1, width)


def only(module, prefix):
    return {name: value + 1 for name, value in module.state_dict().items() if name.startswith(prefix)}


def test_all_weights_of_the_module_are_loaded():
    module, weights = Adapted(), Adapted().state_dict()
    assert load_weights(module, weights) == ""
    assert all(torch.equal(value, weights[name]) for name, value in module.state_dict().items())


def test_a_name_that_does_not_fit_is_told_the_nearest():
    weights = {name.replace("base", "bass"): value for name, value in Adapted().state_dict().items()}
    expected = r"weights in x\.ckpt do not fit `Adapted`: `base\.weight` is not in the file \(nearest: `bass\.weight`\)"
    with pytest.raises(WeightsMismatch, match=expected):
        load_weights(Adapted(), weights, source="x.ckpt")


def test_the_error_is_torchs_kind_and_that_of_wrong_arguments():
    for kind in (RuntimeError, ValueError, CheckpointError):
        with pytest.raises(kind):
            load_weights(Adapted(), {})


def test_what_fits_is_loaded_and_the_rest_named():
    module, other = Adapted(), Adapted()
    weights = {**only(other, "base"), "head": torch.ones(1)}
    said = load_weights(module, weights, strict=False)
    assert torch.equal(module.base.weight, other.base.weight + 1)
    assert "`lora_a.weight` is not in the file" in said
    assert "`head` is not in the module" in said


def test_a_file_of_a_declared_part_holds_just_that():
    module = Adapted()
    base = module.base.weight.clone()
    weights = only(module, "lora")
    assert load_weights(module, weights, strict="lora_*") == ""
    assert torch.equal(module.lora_a.weight, weights["lora_a.weight"])
    assert torch.equal(module.base.weight, base)
    weights.pop("lora_b.bias")
    with pytest.raises(WeightsMismatch, match=r"`lora_b\.bias` is not in the file"):
        load_weights(module, weights, strict=["lora_*"])
    with pytest.raises(WeightsMismatch, match=r"`lorra` is not in the module"):
        load_weights(module, {**only(module, "lora"), "lorra": torch.ones(1)}, strict="lora_*")


def test_a_pattern_that_matches_nothing_is_a_mistake():
    with pytest.raises(WeightsMismatch, match=r"pattern 'lorra_\*', which no weight of `Adapted` matches"):
        load_weights(Adapted(), {}, strict=["lora_*", "lorra_*"])


@pytest.mark.parametrize("strict", [True, False, "*"])
def test_shapes_that_differ_are_named_with_both(strict):
    with pytest.raises(WeightsMismatch, match=r"`base\.weight` has the shape \(4, 2\) in the file and \(3, 2\) in the"):
        load_weights(Adapted(), Adapted(4).state_dict(), strict)


def test_long_lists_are_cut():
    with pytest.raises(WeightsMismatch, match=r"; and 1 more\. Rename"):
        load_weights(Adapted(), {})


def test_a_module_may_rename_what_it_loads():
    class Renaming(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2, 3)
            self.register_load_state_dict_pre_hook(self.rename)

        def rename(self, module, state, prefix, *args):
            for name in [name for name in state if name.startswith("old.")]:
                state[name.replace("old.", "layer.")] = state.pop(name)

    weights = {f"old.{name}": value for name, value in nn.Linear(2, 3).state_dict().items()}
    assert load_weights(Renaming(), weights) == ""


def test_lazy_layers_get_their_shape_from_the_file():
    module = nn.Sequential(nn.LazyLinear(3))
    load_weights(module, nn.Sequential(nn.Linear(2, 3)).state_dict())
    assert module[0].weight.shape == (3, 2)
