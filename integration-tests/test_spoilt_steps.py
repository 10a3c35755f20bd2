"""A loss that is not finite: the run ends, leaves the step out, or goes back to before it; nothing bad is kept."""

import lt as L
import lt_checkpoint
import pytest
import torch
import torch.nn.functional as F
from lt.callbacks import ModelCheckpoint, NaNGuard
from torch.utils.data import DataLoader, TensorDataset

X = torch.randn(48, 4, generator=torch.Generator().manual_seed(1))
BATCHES = 12


class Net(L.LightningModule):
    """Its loss is NaN in the batches named `bad`, as (epoch, index)."""

    def __init__(self, bad=(), none_for=()):
        super().__init__()
        self.layer, self.dropout = torch.nn.Linear(4, 2), torch.nn.Dropout(0.2)
        self.bad, self.none_for = set(bad), set(none_for)

    def training_step(self, batch, batch_idx):
        loss = F.mse_loss(self.dropout(self.layer(batch[0])), torch.zeros(len(batch[0]), 2))
        return loss * float("nan") if (self.current_epoch, batch_idx) in self.bad else loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), 0.01)


class Without(DataLoader):
    """None in the place of some batches of some epochs."""

    epoch = -1
    missing = ()

    def __iter__(self):
        self.epoch += 1
        for i, batch in enumerate(super().__iter__()):
            yield None if (self.epoch, i) in self.missing else batch


def fit(module, tmp_path, loader=None, every=4, **kwargs):
    L.seed_everything(7)
    module.layer.reset_parameters()
    loader = loader or DataLoader(TensorDataset(X), 4, shuffle=True)
    keep = ModelCheckpoint(dirpath=tmp_path, every_n_train_steps=every, save_top_k=-1)
    trainer = L.Trainer(
        max_epochs=3, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        log_every_n_steps=3, callbacks=[keep, *kwargs.pop("callbacks", ())], default_root_dir=tmp_path, **kwargs,
    )  # fmt: skip
    trainer.fit(module, loader)
    return trainer


def test_going_back_is_training_without_the_spoilt_batches(tmp_path):
    bad = [(0, 9), (1, 2), (2, 11)]
    loader = Without(TensorDataset(X), 4, shuffle=True)
    loader.missing = bad
    with pytest.warns(UserWarning, match="gave None"):
        plain = fit(Net(), tmp_path / "plain", loader)
    guard = NaNGuard("rollback")
    with pytest.warns(UserWarning, match="not finite in step"):
        guarded = fit(Net(bad), tmp_path / "guarded", callbacks=[guard])
    assert guard.rollbacks == 3
    assert guarded.global_step == plain.global_step == 3 * BATCHES - 3
    assert torch.equal(guarded.lightning_module.layer.weight, plain.lightning_module.layer.weight)


def test_what_was_left_out_stays_out_after_a_resume(tmp_path):
    with pytest.warns(UserWarning, match="not finite"):
        whole = fit(Net([(0, 9)]), tmp_path, callbacks=[NaNGuard("rollback")])
    path = next(tmp_path.glob("*step=8.ckpt"))
    assert lt_checkpoint.load(path)["lt"]["left_out"] == []
    path = next(tmp_path.glob("*step=20.ckpt"))
    assert lt_checkpoint.load(path)["lt"]["left_out"] == [(0, 9)]
    module = Net([(0, 9)])
    trainer = L.Trainer(max_epochs=3, accelerator="cpu", logger=False, enable_progress_bar=False,
                        enable_model_summary=False, enable_checkpointing=False)  # fmt: skip
    with pytest.warns(UserWarning, match="callbacks that are not there now"):
        trainer.fit(module, DataLoader(TensorDataset(X), 4, shuffle=True), ckpt_path=path)
    assert torch.equal(module.layer.weight, whole.lightning_module.layer.weight)


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(tmp_path):
    class Damage(L.Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            if trainer.global_step == 9:
                path = next(tmp_path.glob("other/*step=9.ckpt"))
                path.write_bytes(path.read_bytes()[:500])

    other = ModelCheckpoint(dirpath=tmp_path / "other", every_n_train_steps=3)
    with pytest.warns(UserWarning, match=r"not finite in step 10|Skipped a checkpoint.*step=9") as told:
        trainer = fit(Net([(0, 9)]), tmp_path, callbacks=[other, Damage(), NaNGuard("rollback")])
    assert sum("Skipped a checkpoint" in str(warning.message) for warning in told) == 1
    assert trainer.global_step == 3 * BATCHES - 1


def test_with_nothing_to_go_back_to_the_run_ends_and_says_so(tmp_path):
    with (
        pytest.warns(UserWarning, match="not finite"),
        pytest.raises(RuntimeError, match=r"no checkpoint of this run from before step 2.*every_n_train_steps"),
    ):
        fit(Net([(0, 1)]), tmp_path, callbacks=[NaNGuard("rollback")])


def test_a_run_that_is_spoilt_again_and_again_ends(tmp_path):
    bad = [(0, i) for i in range(5, BATCHES)]
    with (
        pytest.warns(UserWarning, match="not finite"),
        pytest.raises(FloatingPointError, match="after 2 rollbacks"),
    ):
        fit(Net(bad), tmp_path, callbacks=[NaNGuard("rollback", max_rollbacks=2)])


@pytest.mark.parametrize("policy", ["raise", "skip"])
def test_no_checkpoint_holds_what_is_not_finite(tmp_path, policy):
    bad = [(0, 9), (0, 10), (1, 0)]
    guarded = pytest.raises(FloatingPointError) if policy == "raise" else pytest.warns(UserWarning, match="not finite")
    with guarded:
        fit(Net(bad), tmp_path, every=1, callbacks=[NaNGuard(policy)])
    for path in tmp_path.glob("*.ckpt"):
        assert all(torch.isfinite(v).all() for v in lt_checkpoint.load(path)["state_dict"].values())
