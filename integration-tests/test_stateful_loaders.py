"""Loaders with a state of their own: torchdata's go on from it, bit for bit, iterable data included."""

import lt as L
import pytest
import torch
import torch.nn.functional as F
from torch.utils.data import Dataset, IterableDataset
from torchdata.stateful_dataloader import StatefulDataLoader

pytestmark = pytest.mark.filterwarnings("ignore:'set_vital':UserWarning")  # torchdata's own
STREAM = torch.randn(60, 4, generator=torch.Generator().manual_seed(1))


class Samples(Dataset):
    def __len__(self):
        return len(STREAM)

    def __getitem__(self, i):
        noise = 0.0 if torch.utils.data.get_worker_info() else 0.1  # torchdata keeps no generators of its workers
        return STREAM[i] + noise * torch.randn(4)


class Stream(IterableDataset):
    """Each worker its share, at a position that it tells."""

    def __init__(self):
        self.position = self.start = 0

    def __iter__(self):
        info = torch.utils.data.get_worker_info()
        number, count = (info.id, info.num_workers) if info else (0, 1)
        mine = STREAM[number::count]
        self.position = self.start
        while self.position < len(mine):
            self.position += 1
            yield mine[self.position - 1]
        self.position = self.start = 0

    def state_dict(self):
        return {"position": self.position}

    def load_state_dict(self, state):
        self.start = state["position"]


class Net(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 2)
        self.seen = []

    def training_step(self, batch, batch_idx):
        self.seen.append(batch.clone())
        return F.mse_loss(self.layer(batch), torch.zeros(len(batch), 2))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), 0.01)


class SaveAt(L.Callback):
    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        if trainer.global_step == 20:
            trainer.save_checkpoint("at.ckpt")


def fit(kind, workers, seed, **kwargs):
    L.seed_everything(5)
    module = Net()
    L.seed_everything(seed)
    loader = StatefulDataLoader(kind(), 4, shuffle=kind is Samples or None, num_workers=workers)
    trainer = L.Trainer(
        max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[SaveAt()],
    )  # fmt: skip
    trainer.fit(module, loader, **kwargs)
    return module


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", [Samples, Stream])
def test_training_goes_on_with_the_next_batch(tmp_path, monkeypatch, kind, workers):
    monkeypatch.chdir(tmp_path)
    whole = fit(kind, workers, seed=5)
    resumed = fit(kind, workers, seed=99, ckpt_path="at.ckpt")
    assert len(resumed.seen) == len(whole.seen) - 20
    assert all(torch.equal(a, b) for a, b in zip(whole.seen[20:], resumed.seen, strict=True))
    assert torch.equal(whole.layer.weight, resumed.layer.weight)
