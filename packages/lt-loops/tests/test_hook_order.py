"""The order of hooks: as recorded in a run, as the loops' docstrings say, for modules and callbacks alike."""

import re

import pytest
import torch
import torch.nn.functional as F
from lt_interfaces import CALLBACK_HOOKS, MODULE_HOOKS, Callback, ModuleHooks
from lt_loops import Trainer
from lt_loops.evaluation import EvaluationLoop
from lt_loops.prediction import PredictionLoop
from lt_loops.training import FitLoop
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader, TensorDataset

STEERING = [
    "training_step",
    "validation_step",
    "test_step",
    "predict_step",
    "optimizer_zero_grad",
    "backward",
    "configure_gradient_clipping",
    "lr_scheduler_step",
    "on_validation_model_eval",
    "on_validation_model_train",
    "on_test_model_eval",
    "on_test_model_train",
    "on_predict_model_eval",
]


class Net(ModuleHooks, nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def training_step(self, batch, batch_idx):
        return F.mse_loss(self.layer(batch[0]), batch[1])

    def validation_step(self, batch, batch_idx):
        return None

    test_step = predict_step = validation_step

    def configure_optimizers(self):
        optimizer = SGD(self.parameters(), 0.1)
        return [optimizer], [{"scheduler": StepLR(optimizer, 1), "interval": "step"}]

    def optimizer_zero_grad(self, epoch, batch_idx, optimizer):
        optimizer.zero_grad()

    def backward(self, loss):
        loss.backward()

    def configure_gradient_clipping(self, optimizer, value, algorithm):
        """Nothing is clipped."""

    def lr_scheduler_step(self, scheduler, metric):
        scheduler.step()

    def on_validation_model_eval(self):
        self.eval()

    on_test_model_eval = on_predict_model_eval = on_validation_model_eval

    def on_validation_model_train(self):
        self.train()

    on_test_model_train = on_validation_model_train


def recording(base, names, seen):
    """A subclass of `base` that notes each of its hooks before doing what it does."""

    def noted(name):
        original = getattr(base, name)

        def hook(self, *args):
            seen.append(name)
            return original(self, *args)

        return hook

    return type(f"Recording{base.__name__}", (base,), {n: noted(n) for n in names})


def record(entry, of="module"):
    seen = []
    module = recording(Net, [*MODULE_HOOKS, *STEERING], seen)() if of == "module" else Net()
    callbacks = [recording(Callback, CALLBACK_HOOKS, seen)()] if of == "callback" else []
    data = DataLoader(TensorDataset(torch.randn(6, 4), torch.zeros(6, 2)), 2)
    getattr(Trainer(max_epochs=2, num_sanity_val_steps=1, callbacks=callbacks), entry)(
        module, data, *([data] if entry == "fit" else [])
    )
    return seen


def documented(loop, word=""):
    """Hook names in the order of the pseudo-code in a loop's docstring."""
    text = loop.__doc__.split("::\n", 1)[1].replace("{validation,test}", word)
    return [n for n in re.findall(r"\w+", text) if n in {*MODULE_HOOKS, *CALLBACK_HOOKS, *STEERING}]


def first_times(seen, names):
    return list(dict.fromkeys(n for n in seen if n in names))


def without_sanity_check(seen):
    return seen[: seen.index("on_validation_model_eval")] + seen[seen.index("on_train_start") :]


def test_fit_follows_its_docstring():
    names = [n for n in dict.fromkeys(documented(FitLoop)) if "sanity" not in n]
    assert first_times(without_sanity_check(record("fit")), names) == names


@pytest.mark.parametrize(("entry", "word"), [("validate", "validation"), ("test", "test")])
def test_evaluation_follows_its_docstring(entry, word):
    names = documented(EvaluationLoop, word)
    assert first_times(record(entry), names) == names


def test_prediction_follows_its_docstring():
    names = documented(PredictionLoop)
    assert first_times(record("predict"), names) == names


@pytest.mark.parametrize("entry", ["fit", "validate", "test", "predict"])
def test_callbacks_and_module_see_the_same_order(entry):
    shared = set(MODULE_HOOKS) & set(CALLBACK_HOOKS)
    module, callback = record(entry), record(entry, of="callback")
    assert [n for n in module if n in shared] == [n for n in callback if n in shared]


def test_validation_runs_inside_the_training_epoch():
    seen = without_sanity_check(record("fit"))
    last_batch = seen.index("on_train_epoch_end")
    assert seen.index("on_train_epoch_start") < seen.index("on_validation_start") < last_batch


def test_callbacks_come_before_the_module_and_deciders_after_it():
    seen = []

    class Early:
        def on_train_epoch_end(self, trainer, module):
            seen.append("callback")

    class Decider(Early):
        decides_on_epoch = True

        def on_train_epoch_end(self, trainer, module):
            seen.append("decider")

    class Ends(Net):
        def on_train_epoch_end(self):
            seen.append("module")

    data = DataLoader(TensorDataset(torch.randn(6, 4), torch.zeros(6, 2)), 2)
    Trainer(max_epochs=1, callbacks=[Decider(), Early()]).fit(Ends(), data)
    assert seen == ["callback", "module", "decider"]


def test_a_hook_that_nobody_overrides_is_the_shared_no_op():
    from lt_loops.hooks import nothing

    trainer = Trainer(max_epochs=1, callbacks=[Callback(), Callback()])
    trainer.fit(Net(), DataLoader(TensorDataset(torch.randn(6, 4), torch.zeros(6, 2)), 2))
    assert all(getattr(trainer.hooks, name) is nothing for name in MODULE_HOOKS)
