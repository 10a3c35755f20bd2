"""Compiled modules train compiled, and their weights keep the names of the bare module."""

import lt_checkpoint
import pytest
import torch
import torch.nn.functional as F
from lt_interfaces import ModuleHooks
from lt_loops import Trainer
from torch import nn


class Net(ModuleHooks, nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def training_step(self, batch, batch_idx):
        return F.mse_loss(self.layer(batch), torch.zeros(3, 2))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def fitted(wrap):
    torch.manual_seed(0)
    net = Net()
    trainer = Trainer(max_epochs=1)
    trainer.fit(wrap(net), [torch.ones(3, 4)] * 5)
    trainer.save_checkpoint("a.ckpt")
    return net.layer.weight


def test_a_compiled_module_trains_through_its_compiler_and_gives_the_same_weights():
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    compiled = fitted(lambda net: torch.compile(net, backend=backend))
    assert graphs
    assert list(lt_checkpoint.load("a.ckpt")["state_dict"]) == ["layer.weight", "layer.bias"]
    assert torch.equal(compiled, fitted(lambda net: net))


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # of torch's, about its own look at the loss
def test_logging_is_not_compiled_anew_at_every_step():
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    class Logging(Net):
        trainer = None

        def log(self, name, value):
            self.trainer.recorder.log(name, value)

        def training_step(self, batch, batch_idx):
            loss = super().training_step(batch, batch_idx)
            self.log("loss", loss)
            return loss

    trainer = Trainer(max_epochs=1)
    trainer.fit(torch.compile(Logging(), backend=backend), [torch.ones(3, 4)] * 12)
    assert len(graphs) == 1
    assert "loss" in trainer.callback_metrics
