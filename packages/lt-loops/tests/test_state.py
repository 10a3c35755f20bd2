"""Checkpoints: what is in them, and that training goes on from them bit for bit."""

import lt_checkpoint
import pytest
import torch
import torch.nn.functional as F
from lt_interfaces import ModuleHooks
from lt_loops import Trainer
from torch import nn
from torch.optim import Adam
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader, TensorDataset

X, Y = torch.randn(50, 4, generator=torch.Generator().manual_seed(1)), torch.zeros(50, 2)


def loader():
    return DataLoader(TensorDataset(X, Y), 8, shuffle=True)


class Net(ModuleHooks, nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.dropout = nn.Linear(4, 2), nn.Dropout(0.3)

    def training_step(self, batch, batch_idx):
        return F.mse_loss(self.dropout(self.layer(batch[0])), batch[1])

    validation_step = training_step

    def configure_optimizers(self):
        optimizer = Adam(self.parameters(), 0.01)
        return [optimizer], [StepLR(optimizer, 1, 0.9)]


class SaveAt:
    """Writes a checkpoint at one step, from the hook of its choice."""

    def __init__(self, step, hook):
        self.step = step
        setattr(self, hook, self.save)

    def save(self, trainer, module, *_):
        if trainer.global_step == self.step:
            trainer.save_checkpoint("at.ckpt")


def test_training_goes_on_inside_an_accumulation_window():
    class At:
        def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
            if (trainer.current_epoch, batch_idx) == (1, 3):
                trainer.save_checkpoint("at.ckpt")

    whole, _ = run([At()], accumulate_grad_batches=3)
    resumed, trainer = run(ckpt_path="at.ckpt", seed=99, accumulate_grad_batches=3)
    assert torch.equal(whole, resumed)
    assert trainer.global_step == 12


def run(callbacks=(), ckpt_path=None, seed=4, **kwargs):
    torch.manual_seed(3)
    net = Net()
    torch.manual_seed(seed)
    trainer = Trainer(max_epochs=4, callbacks=list(callbacks), **kwargs)
    trainer.fit(net, loader(), loader(), ckpt_path=ckpt_path)
    return net.layer.weight, trainer


@pytest.mark.parametrize(
    ("step", "hook"),
    [(3, "on_train_batch_end"), (10, "on_train_batch_end"), (14, "on_validation_end"), (14, "on_train_epoch_end")],
)
def test_training_goes_on_bit_for_bit(step, hook):
    whole, _ = run([SaveAt(step, hook)])
    resumed, trainer = run(ckpt_path="at.ckpt", seed=99)
    assert torch.equal(whole, resumed)
    assert (trainer.global_step, trainer.current_epoch) == (28, 4)


def test_what_the_end_of_an_epoch_draws_is_drawn_again():
    class Draws:
        def on_train_epoch_end(self, trainer, module):
            torch.rand(1)

    whole, _ = run([Draws(), SaveAt(14, "on_validation_end")])
    resumed, _ = run([Draws()], ckpt_path="at.ckpt", seed=99)
    assert torch.equal(whole, resumed)


def test_a_validation_loaders_own_generator_goes_on():
    class Sees(Net):
        def __init__(self):
            super().__init__()
            self.seen = []

        def validation_step(self, batch, batch_idx):
            self.seen.append(batch[0].tolist())

    def seen(callbacks=(), ckpt_path=None):
        net, own = Sees(), torch.Generator().manual_seed(5)
        shuffled = DataLoader(TensorDataset(X, Y), 8, shuffle=True, generator=own)
        Trainer(max_epochs=3, callbacks=list(callbacks)).fit(net, loader(), shuffled, ckpt_path=ckpt_path)
        return net.seen[-7:]

    assert seen([SaveAt(10, "on_train_batch_end")]) == seen(ckpt_path="at.ckpt")


def test_a_batch_that_failed_is_none_of_its_window():
    class Fails(Net):
        def training_step(self, batch, batch_idx):
            if batch_idx == self.fails_at:
                raise RuntimeError("out of memory")
            return super().training_step(batch, batch_idx)

    class Saves:
        def on_exception(self, trainer, module, error):
            trainer.save_checkpoint("at.ckpt")

    def fit(fails_at, ckpt_path=None):
        net = Fails()
        net.fails_at = fails_at
        trainer = Trainer(max_epochs=1, accumulate_grad_batches=3, callbacks=[Saves()])
        trainer.fit(net, loader(), ckpt_path=ckpt_path)
        return trainer.global_step

    with pytest.raises(RuntimeError, match="out of memory"):
        fit(5)
    assert (lt_checkpoint.load("at.ckpt")["lt"]["window"], fit(None, "at.ckpt")) == (2, 3)


def test_callbacks_are_not_asked_about_weights_alone():
    class Own:
        def on_save_checkpoint(self, trainer, module, checkpoint):
            checkpoint["own"] = 1

        def on_load_checkpoint(self, trainer, module, checkpoint):
            checkpoint["own"]

    _, trainer = run([Own()])
    trainer.save_checkpoint("weights.ckpt", weights_only=True)
    trainer.validate(Net(), loader(), ckpt_path="weights.ckpt", verbose=False)
    assert "own" not in lt_checkpoint.load("weights.ckpt")


def test_a_checkpoint_has_lightnings_keys():
    run([SaveAt(3, "on_train_batch_end")])
    keys = list(lt_checkpoint.load("at.ckpt"))
    assert keys[:5] == ["epoch", "global_step", "pytorch-lightning_version", "state_dict", "loops"]
    assert {"callbacks", "optimizer_states", "lr_schedulers"} <= set(keys)


def test_weights_alone_are_refused_for_training_with_a_remedy():
    _, trainer = run()
    trainer.save_checkpoint("weights.ckpt", weights_only=True)
    with pytest.raises(ValueError, match=r"no `optimizer_states`.*load_from_checkpoint"):
        run(ckpt_path="weights.ckpt")


def test_a_missing_file_is_an_error_and_nothing_is_trained():
    with pytest.raises(FileNotFoundError, match=r"absent\.ckpt"):
        run(ckpt_path="absent.ckpt")


def test_a_truncated_file_is_named_and_left_alone(tmp_path):
    run([SaveAt(3, "on_train_batch_end")])
    data = (tmp_path / "at.ckpt").read_bytes()
    (tmp_path / "at.ckpt").write_bytes(data[:1000])
    with pytest.raises(lt_checkpoint.CorruptCheckpoint, match=r"at\.ckpt"):
        run(ckpt_path="at.ckpt")
    assert (tmp_path / "at.ckpt").read_bytes() == data[:1000]


def test_weights_that_do_not_fit_name_the_nearest_key():
    run([SaveAt(3, "on_train_batch_end")])
    net = Net()
    net.layers = net.layer
    del net.layer
    with pytest.raises(ValueError, match=r"`layers.weight` is not in the file \(nearest: `layer.weight`\)"):
        Trainer().validate(net, [(X, Y)], ckpt_path="at.ckpt")


def test_evaluation_after_a_fit_takes_the_best_checkpoint():
    class Keeper:
        best_model_path = ""

        def on_train_batch_end(self, trainer, module, *_):
            if trainer.global_step == 2:
                trainer.save_checkpoint("best.ckpt")
                self.best_model_path = "best.ckpt"

    torch.manual_seed(3)
    net, trainer = Net(), Trainer(max_epochs=1, callbacks=[Keeper()])
    trainer.fit(net, loader())
    last = net.layer.weight.clone()
    trainer.validate(net, loader(), verbose=False, ckpt_path="current")
    assert torch.equal(net.layer.weight, last)
    trainer.validate(net, loader(), verbose=False)
    assert torch.equal(net.layer.weight, lt_checkpoint.load("best.ckpt")["state_dict"]["layer.weight"])


def test_copies_of_trackers_are_passed_over_but_not_a_root_of_that_name(tmp_path):
    root = tmp_path / "artifacts"
    _, trainer = run(default_root_dir=root)
    trainer.save_checkpoint(root / "own.ckpt")
    trainer.save_checkpoint(root / "tracker" / "artifacts" / "copy.ckpt")
    _, resumed = run(default_root_dir=root, ckpt_path="last")
    assert resumed.ckpt_path == str(root / "own.ckpt")
