"""The fit loop against the hand-written loop, bit for bit, and its limits."""

import pytest
import torch
import torch.nn.functional as F
from lt_interfaces import ModuleHooks
from lt_loops import Trainer
from torch import nn
from torch.optim import SGD, Adam
from torch.optim.lr_scheduler import ExponentialLR, ReduceLROnPlateau, StepLR
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

X, Y = torch.randn(50, 4, generator=torch.Generator().manual_seed(1)), torch.zeros(50, 2)


def loader(batch_size=8, shuffle=True):
    return DataLoader(TensorDataset(X, Y), batch_size, shuffle=shuffle)


class Net(ModuleHooks, nn.Module):
    def __init__(self, optimizer=lambda p: SGD(p, 0.1), scheduler=None):
        super().__init__()
        self.layer, self.dropout = nn.Linear(4, 2), nn.Dropout(0.3)
        self.make_optimizer, self.make_scheduler = optimizer, scheduler

    def loss(self, batch):
        return F.mse_loss(self.dropout(self.layer(batch[0])), batch[1])

    def training_step(self, batch, batch_idx):
        return self.loss(batch)

    def configure_optimizers(self):
        optimizer = self.make_optimizer(self.parameters())
        return (
            optimizer
            if self.make_scheduler is None
            else {"optimizer": optimizer, "lr_scheduler": self.make_scheduler(optimizer)}
        )


def quiet(**kwargs):
    return Trainer(**{"max_epochs": 3, **kwargs})


def by_hand(make, epochs=3, accumulate=1, clip=None, per_step=None):
    torch.manual_seed(3)
    net = make()
    optimizer = net.make_optimizer(net.parameters())
    scheduler = (
        net.make_scheduler(optimizer)["scheduler"] if per_step else net.make_scheduler and net.make_scheduler(optimizer)
    )
    torch.manual_seed(4)
    for _ in range(epochs):
        batches = loader()
        for i, batch in enumerate(batches):
            size = min(accumulate, len(batches) - i // accumulate * accumulate)
            if i % accumulate == 0:
                optimizer.zero_grad()
            (net.loss(batch) / size).backward()
            if (i + 1) % accumulate == 0 or i + 1 == len(batches):
                if clip:
                    nn.utils.clip_grad_norm_(net.parameters(), clip)
                optimizer.step()
                if per_step:
                    scheduler.step()
        if scheduler and not per_step:
            scheduler.step()
    return net


def by_fit(make, **kwargs):
    torch.manual_seed(3)
    net = make()
    torch.manual_seed(4)
    quiet(**kwargs).fit(net, loader())
    return net


def same(a, b):
    return all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


OPTIMIZERS = {
    "sgd": lambda p: SGD(p, 0.1),
    "momentum": lambda p: SGD(p, 0.1, momentum=0.9, nesterov=True),
    "amsgrad": lambda p: Adam(p, 0.01, amsgrad=True),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_fit_gives_the_weights_of_the_hand_written_loop(name):
    assert same(by_fit(lambda: Net(OPTIMIZERS[name])), by_hand(lambda: Net(OPTIMIZERS[name])))


def test_a_scheduler_by_epoch_steps_as_by_hand():
    def make():
        return Net(OPTIMIZERS["amsgrad"], lambda o: StepLR(o, 1, 0.5))

    assert same(by_fit(make), by_hand(make))


def test_a_scheduler_by_step_steps_as_by_hand():
    def make():
        return Net(OPTIMIZERS["sgd"], lambda o: {"scheduler": ExponentialLR(o, 0.9), "interval": "step"})

    assert same(by_fit(make), by_hand(make, per_step=True))


def test_a_short_last_window_weighs_the_batches_that_were_there():
    assert same(by_fit(Net, accumulate_grad_batches=3), by_hand(Net, accumulate=3))


def test_clipping_is_torchs_own():
    assert same(by_fit(Net, gradient_clip_val=0.01), by_hand(Net, clip=0.01))


def test_a_registered_step_hook_of_torch_is_called():
    steps = []

    class Hooked(Net):
        def configure_optimizers(self):
            optimizer = SGD(self.parameters(), 0.1)
            optimizer.register_step_post_hook(lambda *_: steps.append(1))
            return optimizer

    quiet(max_epochs=1).fit(Hooked(), loader())
    assert len(steps) == 7


class Unsized(IterableDataset):
    def __init__(self, n):
        self.n = n

    def __iter__(self):
        return iter([(X[i], Y[i]) for i in range(self.n)])


def test_a_short_window_of_a_loader_without_length_is_scaled_when_it_ends():
    def run(data, **kwargs):
        torch.manual_seed(3)
        net = Net()
        net.dropout.p = 0.0
        quiet(max_epochs=1, **kwargs).fit(net, data)
        return net

    streamed = run(DataLoader(Unsized(40), 8), accumulate_grad_batches=4)
    listed = run([(X[i : i + 8], Y[i : i + 8]) for i in range(0, 40, 8)], accumulate_grad_batches=4)
    for p, q in zip(streamed.parameters(), listed.parameters(), strict=True):
        torch.testing.assert_close(p, q)


def test_a_second_fit_goes_on_where_the_first_one_stopped():
    def run(*limits):
        torch.manual_seed(3)
        net = Net()
        torch.manual_seed(4)
        trainer = quiet(max_epochs=limits[0])
        for limit in limits:
            trainer.fit_loop.max_epochs = limit
            trainer.fit(net, loader())
        return trainer.current_epoch, trainer.global_step

    assert run(2, 4) == run(4) == (4, 28)


@pytest.mark.parametrize(
    ("limits", "steps"), [({"max_steps": 5}, 5), ({"limit_train_batches": 2}, 6), ({"fast_dev_run": 2}, 2)]
)
def test_limits_count_optimizer_steps(limits, steps):
    trainer = quiet(**limits)
    trainer.fit(Net(), loader())
    assert trainer.global_step == steps


def test_returning_minus_one_skips_the_rest_of_the_epoch():
    class Skips(Net):
        def on_train_batch_start(self, batch, batch_idx):
            return -1 if batch_idx == 2 else None

    trainer = quiet()
    trainer.fit(Skips(), loader())
    assert trainer.global_step == 6


def test_returning_none_skips_the_batch():
    class Skips(Net):
        def training_step(self, batch, batch_idx):
            return None if batch_idx == 0 else self.loss(batch)

    trainer = quiet(max_epochs=1)
    with pytest.warns(UserWarning, match="skipped"):
        trainer.fit(Skips(), loader())
    assert trainer.global_step == 6


def test_an_lbfgs_optimizer_evaluates_the_loss_itself():
    class Net2(Net):
        def configure_optimizers(self):
            return torch.optim.LBFGS(self.parameters(), 0.1, max_iter=3)

    trainer, net = quiet(max_epochs=1), Net2()
    before = [p.clone() for p in net.parameters()]
    trainer.fit(net, loader())
    assert trainer.global_step == 7
    assert not any(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))


def test_an_overridden_optimizer_step_gets_a_closure_that_computes_gradients():
    class Warm(Net):
        def optimizer_step(self, epoch, batch_idx, optimizer, optimizer_closure):
            optimizer.step(closure=optimizer_closure)

    assert same(by_fit(Warm), by_hand(Net))


def test_a_closure_run_alone_computes_gradients_and_nothing_else():
    class EveryFourth(Net):
        prepared = 0

        def optimizer_step(self, epoch, batch_idx, optimizer, optimizer_closure):
            if batch_idx % 4 == 3:
                optimizer.step(closure=optimizer_closure)
            else:
                optimizer_closure()

        def on_before_optimizer_step(self, optimizer):
            self.prepared += 1

    trainer, net = quiet(max_epochs=1, gradient_clip_val=0.1), EveryFourth()
    trainer.fit(net, loader())
    assert trainer.global_step == net.prepared == 1


def test_a_class_in_the_place_of_an_object_is_told():
    with pytest.raises(TypeError, match="the class `Net` as the model"):
        quiet().fit(Net, loader())
    with pytest.raises(TypeError, match="`callbacks` got the class `Net`"):
        quiet(callbacks=[Net])


def test_a_stop_at_the_start_of_an_epoch_trains_none_of_it():
    class Stops:
        validated = 0

        def on_train_epoch_start(self, trainer, module):
            trainer.should_stop = trainer.current_epoch == 1

        def on_validation_start(self, trainer, module):
            self.validated += 1

    class Validates(Net):
        validation_step = Net.training_step

    trainer = quiet(callbacks=[Stops()], num_sanity_val_steps=0)
    trainer.fit(Validates(), loader(), loader())
    assert (trainer.global_step, trainer.callbacks[0].validated) == (7, 1)


def test_a_plateau_by_step_sees_the_validation_of_its_epoch():
    class Falls(Net):
        def validation_step(self, batch, batch_idx):
            return {"val_loss": float(self.trainer.current_epoch)}

        trainer = None

        def configure_optimizers(self):
            optimizer = super().configure_optimizers()
            plateau = {"scheduler": ReduceLROnPlateau(optimizer, patience=0), "monitor": "val_loss"}
            return {"optimizer": optimizer, "lr_scheduler": {**plateau, "interval": "step", "frequency": 7}}

    trainer = quiet(max_epochs=2, num_sanity_val_steps=0)
    trainer.fit(Falls(), loader(), loader())
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.01)


def test_a_stop_waits_for_the_minimum():
    class Stops(Net):
        trainer = None

        def on_train_batch_end(self, outputs, batch, batch_idx):
            self.trainer.should_stop = True

    trainer = quiet(min_steps=10)
    trainer.fit(Stops(), loader())
    assert trainer.global_step == 10


def test_an_empty_loader_is_an_error_before_training():
    with pytest.raises(ValueError, match="no batches"):
        quiet().fit(Net(), DataLoader(TensorDataset(X[:0], Y[:0]), 8))


def test_a_loss_without_gradient_is_refused_with_a_remedy():
    class Detached(Net):
        def training_step(self, batch, batch_idx):
            return self.loss(batch).detach()

    with pytest.raises(ValueError, match=r"without a gradient.*detach"):
        quiet().fit(Detached(), loader())


def test_a_loss_that_is_no_scalar_is_refused_with_its_shape():
    class Vector(Net):
        def training_step(self, batch, batch_idx):
            return self.layer(batch[0])

    with pytest.raises(ValueError, match=r"shape \(8, 2\)"):
        quiet().fit(Vector(), loader())


def test_a_near_miss_of_a_hook_name_says_which_was_meant():
    class Typo(Net):
        configure_optimizers = None

        def configure_optimizer(self):
            return SGD(self.parameters(), 0.1)

    with pytest.raises(ValueError, match="Did you mean `configure_optimizers`"):
        quiet().fit(Typo(), loader())


def test_training_without_limits_says_so_once(caplog):
    class Stops(Net):
        trainer = None

        def on_train_batch_end(self, outputs, batch, batch_idx):
            self.trainer.should_stop = True

    with caplog.at_level("INFO", logger="lt"):
        Trainer().fit(Stops(), loader())
        quiet(max_epochs=1).fit(Net(), loader())
    assert [r.message for r in caplog.records if "1000 epochs" in r.message] == [caplog.records[0].message]


def test_a_callback_added_during_the_run_is_seen():
    class Counts:
        n = 0

        def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
            self.n += 1

    class Adds:
        def on_train_epoch_start(self, trainer, module):
            if trainer.current_epoch == 1 and len(trainer.callbacks) == 1:
                trainer.callbacks.append(counts)

    counts = Counts()
    quiet(callbacks=[Adds()]).fit(Net(), loader())
    assert counts.n == 14


@pytest.mark.parametrize("given", [{"a": 1}, 5, "EarlyStopping", dict])
def test_what_has_no_hook_is_no_callback(given):
    with pytest.raises(TypeError, match="which has no hook"):
        Trainer(callbacks=[given])


def test_a_near_miss_on_a_callback_says_which_hook_was_meant():
    class Typo:
        def on_train_start(self, trainer, module):
            """Right."""

        def on_train_epoch_ends(self, trainer, module):
            """Wrong."""

    with pytest.raises(ValueError, match="Did you mean `on_train_epoch_end`"):
        Trainer(callbacks=[Typo()])


def test_an_lbfgs_optimizer_stepped_by_hand_gets_its_closure():
    class ByHand(Net):
        automatic_optimization = False
        trainer = None

        def training_step(self, batch, batch_idx):
            (optimizer,) = self.trainer.lightning_optimizers

            def closure():
                optimizer.zero_grad()
                loss = self.loss(batch)
                self.trainer.manual_backward(loss)
                return loss

            assert optimizer.step(closure).requires_grad

        def configure_optimizers(self):
            return torch.optim.LBFGS(self.parameters(), 0.1, max_iter=2)

    trainer = quiet(max_epochs=1)
    trainer.fit(ByHand(), loader())
    assert trainer.global_step == 7


def test_all_wrong_arguments_are_told_at_once():
    with pytest.raises(ValueError, match=r"`limit_train_batches` got -1.*`max_steps` got -5"):
        Trainer(max_steps=-5, limit_train_batches=-1)


@pytest.mark.parametrize(
    ("kwargs", "kind"),
    [
        ({"accumulate_grad_batches": 1.5}, TypeError),
        ({"accumulate_grad_batches": 0}, ValueError),
        ({"val_check_interval": "soon"}, ValueError),
        ({"inference_mode": "no"}, TypeError),
        ({"gradient_clip_algorithm": "norms"}, ValueError),
        ({"min_steps": 9, "max_steps": 3}, ValueError),
        ({"check_val_every_n_epoch": None, "val_check_interval": 0.5}, ValueError),
    ],
)
def test_a_wrong_argument_is_refused_with_its_value_and_a_remedy(kwargs, kind):
    with pytest.raises(kind, match=r"Give|Raise|Use|Did you mean") as error:
        Trainer(**kwargs)
    assert str(next(iter(kwargs.values()))) in str(error.value)


def test_a_loader_that_gives_less_than_it_says_ends_the_epoch_and_is_validated(caplog):
    class Boasts(Unsized):
        def __len__(self):
            return 100

    class Counts(Net):
        validated = 0

        def validation_step(self, batch, batch_idx):
            self.validated += 1

    net = Counts()
    with caplog.at_level("INFO", logger="lt"):
        quiet(max_epochs=1, num_sanity_val_steps=0).fit(net, DataLoader(Boasts(48), 8), loader())
    assert net.validated == 7
    assert [r.message for r in caplog.records if "gave 6" in r.message] == ["The loader said 13 batches and gave 6."]


def test_a_loss_that_is_not_finite_is_told_with_its_batch_when_asked():
    class Explodes(Net):
        def training_step(self, batch, batch_idx):
            return self.loss(batch) * (float("nan") if batch_idx == 2 else 1.0)

    with pytest.raises(FloatingPointError, match="nan in batch 2 of epoch 0"):
        quiet(detect_anomaly=True).fit(Explodes(), loader())


class Validated(Net):
    def validation_step(self, batch, batch_idx):
        return self.loss(batch)


def test_samplers_are_told_the_epoch_in_validation_too():
    class Told(torch.utils.data.SequentialSampler):
        epochs = []

        def set_epoch(self, epoch):
            self.epochs.append(epoch)

    data = TensorDataset(X, Y)
    quiet(max_epochs=2).fit(Validated(), loader(), DataLoader(data, 8, sampler=Told(data)))
    assert Told.epochs == [0, 0, 1]  # the sanity check, two epochs


def test_a_share_to_overfit_is_named_as_such_in_validation():
    with pytest.raises(ValueError, match=r"`overfit_batches=0\.2` of 2 batches"):
        quiet(overfit_batches=0.2).fit(Validated(), loader(), loader(25))


def test_a_near_miss_on_a_data_module_says_which_hook_was_meant():
    class Data:
        def train_dataloader(self):
            return loader()

        def on_after_batch_transfr(self, batch, dataloader_idx):
            return batch

    with pytest.raises(ValueError, match="Did you mean `on_after_batch_transfer`"):
        quiet().fit(Net(), datamodule=Data())


def test_what_is_no_instance_or_of_another_age_is_told_so():
    class Old(Net):
        def training_step(self, batch, batch_idx, optimizer_idx):
            return None

    class Data:
        def train_dataloader(self):
            return []

    with pytest.raises(ValueError, match=r"takes `optimizer_idx`.*by hand"):
        Trainer(max_epochs=1).fit(Old(), [])
    with pytest.raises(TypeError, match=r"class `Data` was given as the data. Pass an instance"):
        Trainer(max_epochs=1).fit(Net(), Data)
    with pytest.raises(TypeError, match=r"GradientAccumulationScheduler\(\{0: 2\}\)"):
        Trainer(accumulate_grad_batches={0: 2})
