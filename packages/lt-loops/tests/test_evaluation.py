"""Validation, test and prediction: modes, results, order, and no trace left in training."""

import os
import weakref

import pytest
import torch
import torch.nn.functional as F
from lt_interfaces import ModuleHooks
from lt_loops import Trainer
from torch import nn
from torch.optim import SGD
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

X, Y = torch.randn(50, 4, generator=torch.Generator().manual_seed(1)), torch.zeros(50, 2)


def loader(n=50, batch_size=8, shuffle=False):
    return DataLoader(TensorDataset(X[:n], Y[:n]), batch_size, shuffle=shuffle)


class Net(ModuleHooks, nn.Module):
    trainer = None

    def __init__(self):
        super().__init__()
        self.layer, self.norm, self.frozen = nn.Linear(4, 2), nn.BatchNorm1d(2), nn.Dropout(0.5)
        self.frozen.eval()
        self.seen = []

    def forward(self, batch):
        return self.norm(self.layer(batch[0]))

    def training_step(self, batch, batch_idx):
        return F.mse_loss(self(batch), batch[1])

    def validation_step(self, batch, batch_idx):
        self.seen.append((self.training, torch.is_grad_enabled(), torch.is_inference_mode_enabled()))
        return {"val_loss": F.mse_loss(self(batch), batch[1])}

    test_step = validation_step

    def configure_optimizers(self):
        return SGD(self.parameters(), 0.1)


def test_validate_weighs_the_last_batch_by_its_size():
    net = Net()
    (result,) = Trainer().validate(net, loader(), verbose=False)
    net.eval()
    assert result["val_loss"] == pytest.approx(F.mse_loss(net((X,)), Y).item())


def test_evaluation_runs_in_eval_mode_without_gradients_and_restores_every_mode():
    net = Net()
    Trainer().test(net, loader(), verbose=False)
    assert set(net.seen) == {(False, False, True)}
    assert (net.training, net.norm.training, net.frozen.training) == (True, True, False)


def test_validation_within_fit_is_no_inference_mode():
    net = Net()
    net.frozen.train()
    Trainer(max_epochs=1).fit(net, loader(), loader())
    assert set(net.seen) == {(False, False, False)}


def test_validation_and_sanity_check_leave_training_bit_for_bit_alone():
    def run(**kwargs):
        torch.manual_seed(3)
        net = Net()
        net.frozen.train()
        torch.manual_seed(4)
        noisy = loader(shuffle=True)
        Trainer(max_epochs=3, **kwargs).fit(net, loader(shuffle=True), noisy if kwargs else None)
        return net.layer.weight

    plain = run()
    assert torch.equal(plain, run(val_check_interval=0.3))
    assert torch.equal(plain, run(check_val_every_n_epoch=2, num_sanity_val_steps=-1))


def test_each_loader_has_a_row_of_its_own():
    class Two(Net):
        def validation_step(self, batch, batch_idx, dataloader_idx):
            return {"loss": torch.tensor(float(dataloader_idx))}

    rows = Trainer().validate(Two(), [loader(), loader(20)], verbose=False)
    assert rows == [{"loss/dataloader_idx_0": 0.0}, {"loss/dataloader_idx_1": 1.0}]


def test_several_loaders_need_a_step_that_takes_their_index():
    with pytest.raises(ValueError, match="dataloader_idx"):
        Trainer().validate(Net(), [loader(), loader()], verbose=False)


def test_the_table_of_results_is_printed(capsys):
    Trainer().test(Net(), loader())
    assert "val_loss" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("kwargs", "times"), [({}, 2), ({"val_check_interval": 3}, 4), ({"val_check_interval": 0.5}, 4)]
)
def test_validation_comes_as_often_as_asked(kwargs, times):
    class Counts(Net):
        n = 0

        def on_validation_end(self):
            self.n += 1

    net = Counts()
    net.frozen.train()
    Trainer(max_epochs=2, num_sanity_val_steps=0, **kwargs).fit(net, loader(), loader(8))
    assert net.n == times


class Endless(IterableDataset):
    def __iter__(self):
        return iter(zip(X, Y, strict=True))


@pytest.mark.parametrize("train", [loader(), DataLoader(Endless(), 8)])
def test_batches_are_counted_over_epochs_when_asked(train):
    steps = []

    class Counts(Net):
        def on_validation_end(self):
            steps.append(self.trainer.global_step)

    net = Counts()
    net.frozen.train()
    Trainer(max_epochs=3, num_sanity_val_steps=0, val_check_interval=5, check_val_every_n_epoch=None).fit(
        net, train, loader(8)
    )
    assert steps == [5, 10, 15, 20]


def test_a_list_of_no_loaders_is_not_validated_on():
    class Listens(Net):
        def on_validation_start(self):
            raise AssertionError

    net = Listens()
    net.frozen.train()
    Trainer(max_epochs=1).fit(net, loader(), [])
    assert net.trainer.global_step == 7


def test_predict_gives_one_output_per_batch_in_order():
    outputs = Trainer().predict(Net(), loader())
    net = Net()
    assert [len(o) for o in outputs] == [8, 8, 8, 8, 8, 8, 2]
    assert net.training


def test_predictions_are_of_all_samples_whatever_is_dropped_in_training():
    dropping = DataLoader(TensorDataset(X, Y), 8, drop_last=True)
    assert sum(map(len, Trainer().predict(Net().eval(), dropping))) == 50
    assert len(dropping) == 6


def test_predict_iter_streams_and_keeps_nothing():
    trainer = Trainer()
    stream = trainer.predict_iter(Net(), loader())
    assert next(stream).shape == (8, 2)
    assert sum(len(o) for o in stream) == 42
    assert trainer.predict_loop.predictions == []


def test_a_list_of_batches_is_data_not_loaders():
    batches = [(X[:8], Y[:8]), (X[8:16], Y[8:16])]
    assert len(Trainer().predict(Net(), batches)) == 2


def test_a_validation_loader_without_validation_step_is_refused_before_training():
    class Half(ModuleHooks, nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 2)

        training_step = Net.training_step
        configure_optimizers = Net.configure_optimizers

    with pytest.raises(ValueError, match="no `validation_step`"):
        Trainer(max_epochs=1).fit(Half(), loader(), loader())


def test_a_share_of_a_loader_without_length_is_refused():
    with pytest.raises(ValueError, match=r"limit_val_batches=0\.5"):
        Trainer(limit_val_batches=0.5).validate(Net(), iter([(X, Y)]))


def resident_megabytes():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 1e6


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs Linux's account of memory")
def test_memory_stays_flat_while_a_million_predictions_stream_by():
    chunk = (torch.zeros(1000, 4), torch.zeros(1000, 2))
    seen, early = 0, 0.0
    for i, output in enumerate(Trainer().predict_iter(Net(), (chunk for _ in range(1000)))):
        seen += len(output)
        early = resident_megabytes() if i == 100 else early
    assert seen == 1_000_000
    assert resident_megabytes() - early < 10


def test_predictions_that_nobody_wants_are_not_kept():
    alive = []

    class Writer:
        def on_predict_batch_end(self, trainer, module, outputs, batch, batch_idx, dataloader_idx=0):
            alive.append(weakref.ref(outputs))

    assert Trainer(callbacks=[Writer()]).predict(Net(), loader(), return_predictions=False) is None
    assert [ref() for ref in alive] == [None] * 7
