from types import SimpleNamespace

import pytest
import torch
from lt_module import LightningModule
from torch import nn


class Double(LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def forward(self, x):
        return 2 * x


@pytest.mark.parametrize("kind", ["train", "val", "test", "predict"])
def test_a_missing_loader_is_an_error_that_shows_what_to_define(kind):
    with pytest.raises(NotImplementedError, match=f"Define `def {kind}_dataloader"):
        getattr(Double(), f"{kind}_dataloader")()


def test_a_missing_step_or_optimizer_is_an_error_that_shows_what_to_define():
    with pytest.raises(NotImplementedError, match="Define `def training_step"):
        Double().training_step(0, 0)
    with pytest.raises(NotImplementedError, match="Define `def configure_optimizers"):
        Double().configure_optimizers()


def test_evaluation_steps_may_be_called_on_the_base():
    assert Double().validation_step(0, 0) is None
    assert Double().test_step(0, 0) is None
    assert Double().configure_callbacks() == []


def test_predicting_is_calling_the_module():
    assert Double().predict_step(3) == Double().predict_step(batch=3, batch_idx=1, dataloader_idx=0) == 6


def test_the_optimizer_defaults_step_and_clear():
    model = Double()
    optimizer = torch.optim.SGD(model.parameters(), 1.0)
    before = model.layer.weight.item()

    def closure():
        model.backward(model.layer.weight.sum())

    model.optimizer_step(0, 0, optimizer, closure)
    assert model.layer.weight.item() == pytest.approx(before - 1)
    model.optimizer_zero_grad(0, 0, optimizer)
    assert model.layer.weight.grad is None


def test_schedulers_get_the_metric_if_there_is_one():
    calls = []
    scheduler = SimpleNamespace(step=lambda *args: calls.append(args))
    Double().lr_scheduler_step(scheduler, None)
    Double().lr_scheduler_step(scheduler, 0.5)
    assert calls == [(), (0.5,)]


def test_the_mode_hooks_switch():
    model = Double()
    for stage in ("validation", "test", "predict"):
        getattr(model, f"on_{stage}_model_eval")()
        assert not model.training
        getattr(model, f"on_{stage}_model_train")()
        assert model.training
    model.layer.weight.sum().backward()
    model.on_validation_model_zero_grad()
    assert model.layer.weight.grad is None


def test_batch_hooks_hand_the_batch_on_and_move_it():
    model, batch = Double(), {"x": torch.zeros(1)}
    assert model.on_before_batch_transfer(batch, 0) is batch
    assert model.on_after_batch_transfer(batch, 0) is batch
    assert model.transfer_batch_to_device(batch, "meta", 0)["x"].device.type == "meta"
