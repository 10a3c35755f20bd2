import pytest
import torch
from lt_callbacks import ModelSummary, RichModelSummary, Summary, summarize
from torch import nn


class Net(nn.Module):
    def __init__(self, example=None):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout())
        self.head = nn.Linear(8, 2)
        self.scale = nn.Parameter(torch.ones(3), requires_grad=False)
        self.example_input_array = example

    def forward(self, x):
        return self.head(self.body(x))


def test_layers_and_totals_are_counted():
    summary = summarize(Net())
    assert summary.layer_names == ["body", "head"]
    assert summary.param_nums == [56, 18]
    assert (summary.total_parameters, summary.trainable_parameters, summary.total_layer_params) == (77, 74, 3)
    assert summary.total_training_modes == {"train": 5, "eval": 0}


def test_depth_chooses_the_levels():
    assert Summary(Net(), -1).layer_names == ["body", "body.0", "body.1", "body.2", "head"]
    assert Summary(Net(), 0).layer_names == []


def test_shared_parameters_count_once():
    net = Net()
    net.tied = nn.Linear(8, 2)
    net.tied.weight = net.head.weight
    assert Summary(net).total_parameters == 77 + 2


def test_the_size_is_that_of_the_real_dtypes():
    assert Summary(nn.Linear(10, 10).half()).model_size == pytest.approx(110 * 2 / 1e6)


def test_an_example_gives_sizes_and_changes_nothing():
    net = Net(torch.randn(5, 4))
    net.head.eval()
    before, generator = {k: v.clone() for k, v in net.state_dict().items()}, torch.get_rng_state()
    summary = Summary(net)
    assert (summary.in_sizes, summary.out_sizes) == ([[5, 4], [5, 8]], [[5, 8], [5, 2]])
    assert (net.body.training, net.head.training) == (True, False)
    assert torch.equal(generator, torch.get_rng_state())
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())


def test_operations_are_counted_on_request():
    summary = Summary(Net(torch.randn(5, 4)), flops=True)
    assert summary.flop_counts == [2 * 5 * 4 * 8, 2 * 5 * 8 * 2]
    assert summary.total_flops == sum(summary.flop_counts)


def test_a_failing_example_costs_only_the_sizes():
    with pytest.warns(UserWarning, match="fails on `example_input_array`"):
        summary = Summary(Net(torch.randn(5, 3)))
    assert summary.in_sizes == ["?", "?"]


def test_lazy_parameters_count_as_nothing():
    with pytest.warns(UserWarning, match="lazy parameters"):
        assert Summary(nn.Sequential(nn.LazyLinear(3))).total_parameters == 0


@pytest.mark.parametrize("kind", [ModelSummary, RichModelSummary])
def test_the_callback_prints_the_table_once(trainer_of, kind):
    printed = []
    trainer = trainer_of(kind(), module=Net(), print=lambda *a, **k: printed.append(str(a[0])))
    trainer.call("on_fit_start")
    assert len(printed) == 1
    assert all(word in printed[0] for word in ("body", "Sequential", "56", "Total params", "other params"))


def test_depth_zero_prints_nothing(trainer_of):
    printed = []
    trainer_of(ModelSummary(0), module=Net(), print=printed.append).call("on_fit_start")
    assert printed == []


def test_a_wrong_depth_is_refused():
    with pytest.raises(ValueError, match="-1 for all levels"):
        ModelSummary(-2)
