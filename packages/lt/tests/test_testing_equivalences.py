"""Each property holds for a good module, and the first thing that differs is named for one that breaks it."""

import os

import lt as L
import pytest
import torch
import torch.nn.functional as F
from lt.callbacks import ModelCheckpoint, WeightAveraging
from lt.testing import (
    accumulation_equals_one_batch,
    fit_equals_hand_written_loop,
    overfits_one_batch,
    resume_equals_no_stop,
)
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Good(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 1))

    def training_step(self, batch, batch_idx):
        loss = F.mse_loss(self.net(batch[0]), batch[1])
        self.log("loss", loss)
        return loss

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), 0.02)
        return {"optimizer": optimizer, "lr_scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.9)}


class Forgetful(Good):
    """Its loss depends on a number that no checkpoint has."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def training_step(self, batch, batch_idx):
        self.calls += 1
        return super().training_step(batch, batch_idx) / self.calls


class Summing(Good):
    def training_step(self, batch, batch_idx):
        return F.mse_loss(self.net(batch[0]), batch[1], reduction="sum")


class Normalizing(Good):
    def __init__(self):
        super().__init__()
        self.net.insert(1, nn.BatchNorm1d(8))


class Hooked(Good):
    def on_before_optimizer_step(self, optimizer):
        for parameter in self.parameters():
            parameter.grad *= 0.5


class Stuck(Good):
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.0)


class Two(Good):
    def __init__(self):
        super().__init__()
        self.automatic_optimization = False

    def configure_optimizers(self):
        return [torch.optim.SGD(self.net[0].parameters(), 0.1), torch.optim.Adam(self.net[3].parameters(), 0.01)]

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        self.zero_grad()
        self.manual_backward(loss)
        for optimizer in self.optimizers():
            optimizer.step()
        return loss


def data():
    x = torch.randn(44, 4, generator=torch.Generator().manual_seed(3))
    return DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), 4, shuffle=True)


def test_a_resumed_run_equals_one_without_a_stop_wherever_it_stops():
    resume_equals_no_stop(Good, data, stop_at=(1, 10, 15))
    resume_equals_no_stop(Good, data, stop_at=2, accumulate_grad_batches=3, gradient_clip_val=0.5)
    resume_equals_no_stop(Two, data, stop_at=4)
    resume_equals_no_stop(Good, data, stop_at=4, callbacks=[WeightAveraging()])


def test_state_that_no_checkpoint_has_is_found_at_the_first_step_after_the_resume():
    with pytest.raises(AssertionError, match=r"(?s)after step 5, .* at step 6, the loss: .*`on_save_checkpoint`"):
        resume_equals_no_stop(Forgetful, data, stop_at=5)


def test_a_loader_with_an_order_of_its_own_is_found_by_its_batch():
    orders = iter(range(9))

    class Own(torch.utils.data.Sampler):
        def __iter__(self):
            return iter(torch.randperm(44, generator=torch.Generator().manual_seed(next(orders))).tolist())

        def __len__(self):
            return 44

    with pytest.raises(AssertionError, match=r"at step \d+, the batch: "):
        resume_equals_no_stop(Good, lambda: DataLoader(data().dataset, 4, sampler=Own()), stop_at=3)


def test_a_stop_beyond_the_end_is_an_error():
    with pytest.raises(ValueError, match=r"`stop_at` got 99, .* ends after 22 steps\. Stop before"):
        resume_equals_no_stop(Good, data, stop_at=99)


def test_nothing_outside_changes():
    generators, variables = torch.get_rng_state(), dict(os.environ)
    resume_equals_no_stop(Good, data, max_steps=4)
    assert torch.equal(torch.get_rng_state(), generators)
    assert dict(os.environ) == variables


def test_accumulated_batches_equal_one_large_batch():
    accumulation_equals_one_batch(Good, data, k=3)
    accumulation_equals_one_batch(Good, data, k=2, precision="bf16-mixed", tolerance=0.1)


@pytest.mark.parametrize(("broken", "what"), [(Summing, "the loss: "), (Normalizing, "the loss: ")])
def test_a_loss_that_depends_on_the_batch_is_found(broken, what):
    with pytest.raises(AssertionError, match=rf"2 accumulated batches .* at step 1, {what}.*mean over the samples"):
        accumulation_equals_one_batch(broken, data, k=2)


def test_too_few_batches_are_an_error():
    with pytest.raises(ValueError, match="50 batches of one size are needed, and there are 11"):
        accumulation_equals_one_batch(Good, data, k=50)


def test_batches_of_anything_can_be_joined_by_a_function_of_yours():
    class Text(Good):
        def training_step(self, batch, batch_idx):
            return super().training_step(batch["xy"], batch_idx)

    def texts():
        return [{"xy": batch, "name": f"batch {i}"} for i, batch in enumerate(data())]

    with pytest.raises(TypeError, match=r"Batches with a str for each cannot be joined here\. Pass `join=`"):
        accumulation_equals_one_batch(Text, texts)

    def join(batches):
        return {"xy": [torch.cat(column) for column in zip(*(batch["xy"] for batch in batches), strict=True)]}

    accumulation_equals_one_batch(Text, texts, join=join)


def test_fit_equals_the_textbooks_loop_and_one_of_yours():
    fit_equals_hand_written_loop(Good, data)

    def loop(model, loader):
        first, second = model.configure_optimizers()
        for x, y in loader:
            loss = F.mse_loss(model.net(x), y)
            model.zero_grad()
            loss.backward()
            first.step()
            second.step()

    fit_equals_hand_written_loop(Two, data, loop, max_epochs=1)


def test_a_hook_that_a_loop_does_not_call_is_found():
    with pytest.raises(AssertionError, match=r"`fit` differ at step 1, the gradient of `net\.0\.weight`: the largest"):
        fit_equals_hand_written_loop(Hooked, data)


def test_the_textbook_has_one_optimizer():
    with pytest.raises(ValueError, match=r"`Two` has several or steps them itself\. Pass `loop=`"):
        fit_equals_hand_written_loop(Two, data)


def test_one_batch_can_be_learnt_by_heart():
    overfits_one_batch(Good, data)
    with pytest.raises(AssertionError, match=r"^20 steps on one batch took the loss from .* Look for weights"):
        overfits_one_batch(Stuck, data, steps=20)


def test_sparse_and_empty_gradients_are_compared_too():
    class Sparse(Good):
        def __init__(self):
            super().__init__()
            self.table, self.nothing = nn.Embedding(3, 1, sparse=True), nn.Parameter(torch.zeros(0))

        def training_step(self, batch, batch_idx):
            index = (batch[0][:, 0] > 0).long()
            return (super().training_step(batch, batch_idx) + self.table(index).pow(2).mean()) + self.nothing.sum()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1)

    resume_equals_no_stop(Sparse, data, stop_at=3, max_steps=5)
    accumulation_equals_one_batch(Sparse, data)


def test_checkpoint_callbacks_may_be_among_those_given(tmp_path):
    resume_equals_no_stop(Good, data, stop_at=3, callbacks=ModelCheckpoint(tmp_path), max_steps=5)
