import pytest
import torch
from lt_module import grad_norm
from torch import nn


def test_each_parameter_and_the_total_have_a_norm():
    layer = nn.Linear(2, 1)
    assert grad_norm(layer, 2) == {}
    layer.weight.grad = torch.tensor([[3.0, 4.0]])
    layer.bias.grad = torch.tensor([12.0])
    norms = {name: value.item() for name, value in grad_norm(layer, 2).items()}
    assert norms == {"grad_2.0_norm/weight": 5.0, "grad_2.0_norm/bias": 12.0, "grad_2.0_norm_total": 13.0}
    assert grad_norm(layer, "inf", group_separator=".")["grad_inf_norm.weight"] == 4


def test_a_norm_of_no_power_is_refused():
    with pytest.raises(ValueError, match="got 0"):
        grad_norm(nn.Linear(1, 1), 0)
