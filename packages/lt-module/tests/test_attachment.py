import copy
import pickle
from types import SimpleNamespace

import pytest
import torch
from lt_module import LightningModule
from torch import nn


class Model(LightningModule):
    def __init__(self):
        super().__init__()
        self.loss = nn.MSELoss()
        self.net = nn.Sequential(nn.Linear(2, 2))


class Parent(LightningModule):
    def __init__(self):
        super().__init__()
        self.child = Model()
        self.wrapped = nn.ModuleList([Model()])


ENGINE = SimpleNamespace(global_rank=3, local_rank=1)
TRAINER = SimpleNamespace(engine=ENGINE, current_epoch=2, global_step=9, logger="first", loggers=["first", "second"])


def test_without_a_trainer_reading_it_names_the_remedy():
    with pytest.raises(RuntimeError, match=r"`Model` is not attached to a Trainer.*trainer\.fit\(model\)"):
        _ = Model().trainer


def test_children_are_attached_with_their_parent():
    parent = Parent()
    parent.trainer = TRAINER
    assert parent.trainer is parent.child.trainer is parent.wrapped[0].trainer is TRAINER
    parent.trainer = None
    with pytest.raises(RuntimeError, match="not attached"):
        _ = parent.child.trainer


def test_a_fabric_reaches_children_and_reads_as_a_trainer():
    parent = Parent()
    parent.fabric = SimpleNamespace(global_rank=5, local_rank=2, loggers=["l"], logger="l")
    assert parent.child.fabric is parent.fabric
    assert parent.child.trainer.global_rank == parent.global_rank == 5
    assert (parent.local_rank, parent.logger, parent.loggers) == (2, "l", ["l"])
    with pytest.raises(AttributeError, match="no `max_epochs`"):
        _ = parent.trainer.max_epochs


def test_position_and_ranks_come_from_the_trainer_or_are_zero():
    model = Model()
    assert (model.current_epoch, model.global_step, model.global_rank, model.local_rank) == (0, 0, 0, 0)
    assert (model.logger, model.loggers) == (None, [])
    model.trainer = TRAINER
    assert (model.current_epoch, model.global_step, model.global_rank, model.local_rank) == (2, 9, 3, 1)
    assert (model.logger, model.loggers) == ("first", ["first", "second"])


def test_copies_and_pickles_leave_the_trainer_behind():
    parent = Parent()
    parent.trainer = SimpleNamespace(engine=ENGINE, unpicklable=lambda: None)
    parent.fabric = ENGINE
    for twin in (copy.deepcopy(parent), copy.copy(parent), pickle.loads(pickle.dumps(parent))):
        assert twin.fabric is None
        with pytest.raises(RuntimeError, match="not attached"):
            _ = twin.trainer
        assert torch.equal(twin.child.net[0].weight, parent.child.net[0].weight)
    assert parent.child.trainer is parent.trainer


def test_device_and_type_follow_every_way_of_moving():
    model = Model()
    assert (model.device, model.dtype, model.on_gpu) == (torch.device("cpu"), torch.float32, False)
    assert model.double().dtype is torch.float64
    assert nn.Sequential(model).half()[0].dtype is torch.float16
    assert model.to("meta").device.type == "meta"
    model.net = nn.Linear(1, 1)
    assert (model.device.type, model.dtype) == ("cpu", torch.float32)
    model.net.to("meta")
    assert model.device.type == "meta"


def test_a_module_without_parameters_knows_where_it_was_moved():
    model = LightningModule()
    assert (model.device.type, model.dtype) == ("cpu", torch.float32)
    model.to("meta", torch.float64)
    assert (model.device.type, model.dtype) == ("meta", torch.float64)


def test_a_module_of_buffers_says_where_they_are():
    model = LightningModule()
    model.register_buffer("mean", torch.zeros(1, dtype=torch.float64, device="meta"))
    assert (model.device.type, model.dtype) == ("meta", torch.float64)


def test_the_type_is_that_of_floating_point_parameters():
    model = LightningModule()
    model.codes = nn.Parameter(torch.zeros(1, dtype=torch.int8), requires_grad=False)
    model.scale = nn.Parameter(torch.zeros(1, dtype=torch.bfloat16))
    assert model.dtype is torch.bfloat16


def test_device_and_type_cannot_be_set():
    with pytest.raises(AttributeError):
        Model().device = "cpu"
    with pytest.raises(AttributeError):
        Model().dtype = torch.float16
