"""Stretches that leave no trace, of every entry point."""

import pytest
import torch
from lt_loops import Trainer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Module(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Sequential(nn.Linear(1, 4), nn.Dropout(0.5), nn.Linear(4, 1))
        self.calls = []

    def training_step(self, batch, batch_idx):
        self.calls.append("train")
        return self.layer(batch[0]).square().mean()

    def validation_step(self, batch, batch_idx):
        self.calls.append("val")
        return {"val_loss": self.layer(batch[0]).square().mean()}

    def test_step(self, batch, batch_idx):
        self.calls.append("test")
        return {"test_loss": self.layer(batch[0]).square().mean()}

    def predict_step(self, batch, batch_idx):
        self.calls.append("predict")

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.1)


def loader():
    return DataLoader(TensorDataset(torch.randn(12, 1)), batch_size=2, shuffle=True)


class Tries:
    """Runs a trial when fit starts and notes what it did."""

    def __init__(self, **arguments):
        self.arguments = arguments
        self.calls, self.steps = [], -1

    def on_fit_start(self, trainer, module):
        self.inner = trainer.trial(callbacks=self, **self.arguments)
        assert module.calls == []

    def on_train_batch_end(self, trainer, module, *_):
        self.note(trainer, module)

    on_validation_batch_end = on_train_batch_end

    def note(self, trainer, module):
        if trainer is not self.outer:
            self.calls, self.steps = list(module.calls), trainer.global_step


def fitted(*callbacks, **options):
    torch.manual_seed(3)
    module, train, trainer = Module(), loader(), Trainer(callbacks=list(callbacks), max_epochs=2, **options)
    for callback in callbacks:
        callback.outer = trainer
    trainer.fit(module, train, loader())
    return module, trainer


@pytest.mark.parametrize(
    ("arguments", "calls"),
    [
        ({"steps": 4}, ["train"] * 4),
        ({"steps": 7}, ["train"] * 6 + ["val"] * 6 + ["train"]),
        ({"batches": 2}, ["train"] * 2 + ["val"] * 2),
    ],
)
def test_a_trial_trains_a_stretch_and_fit_is_what_it_is_without(arguments, calls):
    plain, _ = fitted()
    tries = Tries(**arguments)
    module, trainer = fitted(tries)
    assert tries.calls == calls
    assert tries.steps == calls.count("train")
    assert (tries.inner.global_step, trainer.global_step) == (tries.steps, 12)
    assert all(torch.equal(p, q) for p, q in zip(module.parameters(), plain.parameters(), strict=True))
    assert module.calls == plain.calls


def test_steps_are_optimizer_steps_where_gradients_accumulate():
    tries = Tries(steps=2)
    fitted(tries, accumulate_grad_batches=2, num_sanity_val_steps=0)
    assert tries.calls == ["train"] * 4


def test_an_error_in_a_trial_leaves_everything_as_it_was():
    class Fails(Tries):
        def on_fit_start(self, trainer, module):
            self.before = [p.detach().clone() for p in module.parameters()]
            super().on_fit_start(trainer, module)

        def note(self, trainer, module):
            assert not torch.equal(self.before[0], next(module.parameters()))
            raise LookupError

    tries, module, trainer = Fails(steps=5), Module(), None
    trainer = Trainer(callbacks=tries, max_epochs=1)
    tries.outer = trainer
    with pytest.raises(LookupError):
        trainer.fit(module, loader())
    assert all(torch.equal(p, q) for p, q in zip(module.parameters(), tries.before, strict=True))
    assert trainer.optimizers[0].state == {}
    assert module.calls == []


@pytest.mark.parametrize("fn", ["validate", "test", "predict"])
def test_a_rehearsal_sets_up_for_an_entry_point_and_puts_everything_back(fn):
    module, trainer, seen = Module(), Trainer(), []

    def work(inner, it):
        inner.trial(batches=2, callbacks=Notes())
        return inner.fn

    class Notes:
        def on_validation_batch_end(self, inner, it, *_):
            seen.append(it.calls[-1])

        on_test_batch_end = on_predict_batch_end = on_validation_batch_end

    assert trainer.rehearse(fn, work, module, dataloaders=loader()) == fn
    assert seen == [{"validate": "val"}.get(fn, fn)] * 2
    assert module.calls == []
    assert (trainer.fn, trainer.module) == (None, None)


def test_a_rehearsal_of_fit_has_optimizers_and_no_callbacks():
    class Never:
        def setup(self, trainer, module, stage):
            raise AssertionError

    def work(inner, module):
        [optimizer] = inner.optimizers
        inner.trial(steps=2)
        return inner.callbacks, optimizer.state

    module = Module()
    assert Trainer(callbacks=Never()).rehearse("fit", work, module, loader()) == ([], {})
    assert not hasattr(module, "trainer")


def test_a_trial_is_refused_where_nothing_is_set_up():
    with pytest.raises(RuntimeError, match="called while nothing is set up to run"):
        Trainer().trial(steps=1)


@pytest.mark.parametrize("arguments", [{}, {"steps": 1, "batches": 1}])
def test_a_trial_is_over_steps_or_batches(arguments):
    with pytest.raises(ValueError, match=r"A trial of `fit` got `steps=.*Give one of them"):
        Trainer().rehearse("fit", lambda inner, module: inner.trial(**arguments), Module(), loader())


def test_an_entry_point_that_is_not_there_hears_the_nearest_name():
    with pytest.raises(ValueError, match="Did you mean `validate`"):
        Trainer().rehearse("validat", lambda *_: None, Module())


def test_an_interrupt_ends_the_trial_and_the_run():
    class Interrupts(Tries):
        def note(self, trainer, module):
            self.outer.stop_signal = KeyboardInterrupt()

    tries, module = Interrupts(steps=5), Module()
    trainer = Trainer(callbacks=tries, max_epochs=1)
    tries.outer = trainer
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(module, loader())
    assert module.calls == []
