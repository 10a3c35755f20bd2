"""The full trainer against hand-written loops, bit for bit, with everything on and everything off."""

import lt as L
import pytest
import torch
import torch.nn.functional as F
from lt.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint
from lt.demo import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

IMAGES, LABELS = (t[:160] for t in load_digits())


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def loader(batch_size=16, shuffle=True):
    return DataLoader(TensorDataset(IMAGES, LABELS), batch_size, shuffle=shuffle)


def quiet(**kwargs):
    off = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False, "logger": False}
    return L.Trainer(**{"max_epochs": 2, "accelerator": "cpu", **off, **kwargs})


def same(a, b):
    return all(torch.equal(p, q) for p, q in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


class Classifier(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16), nn.Dropout(0.3), nn.Linear(16, 10)
        )

    def forward(self, images):
        return self.net(images)

    def training_step(self, batch, batch_idx):
        loss = F.cross_entropy(self(batch[0]), batch[1])
        self.log("train_loss", loss, prog_bar=True, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", F.cross_entropy(self(batch[0]), batch[1]), prog_bar=True)

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=1e-2)


def fitted(trainer, *data, make=Classifier):
    torch.manual_seed(1)
    model = make()
    torch.manual_seed(2)
    trainer.fit(model, *data)
    return model


def by_hand():
    torch.manual_seed(1)
    model = Classifier()
    torch.manual_seed(2)
    optimizer = model.configure_optimizers()
    for _ in range(2):
        for images, labels in loader():
            loss = F.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model


def test_the_trainer_gives_the_weights_of_the_hand_written_loop():
    assert same(fitted(quiet(), loader()), by_hand())


EVERYTHING = {
    "validation": {},
    "often": {"val_check_interval": 0.25, "num_sanity_val_steps": -1},
    "logging": {"logger": True, "log_every_n_steps": 1},
    "display": {"enable_progress_bar": True, "enable_model_summary": True},
    "checkpoints": {"callbacks": [ModelCheckpoint(every_n_train_steps=3, save_top_k=-1)], "enable_checkpointing": True},
    "monitors": {"callbacks": [EarlyStopping("val_loss", patience=9), LearningRateMonitor("step")], "logger": True},
    "anomaly": {"detect_anomaly": True},
}


@pytest.mark.parametrize("name", EVERYTHING)
@pytest.mark.filterwarnings("ignore:Anomaly Detection")
def test_what_is_switched_on_beside_training_changes_no_bit(name):
    assert same(fitted(quiet(**EVERYTHING[name]), loader(), loader(shuffle=name == "often")), by_hand())


@pytest.mark.filterwarnings("ignore:.*hyperparameter")
def test_the_profile_of_torch_changes_no_bit():
    with torch.profiler.profile():
        profiled = fitted(quiet(), loader())
    assert same(profiled, by_hand())


class Two(Classifier):
    def training_step(self, batch, batch_idx):
        small, large = batch["small"], batch["large"]
        return F.cross_entropy(self(small[0]), small[1]) + F.cross_entropy(self(large[0]), large[1])


def again_and_again(batches):
    while True:
        yield from batches


def test_two_loaders_are_drawn_side_by_side_and_the_shorter_one_starts_again():
    model = fitted(quiet(), {"small": loader(8, shuffle=False), "large": loader(32, shuffle=False)}, make=Two)
    torch.manual_seed(1)
    reference = Two()
    torch.manual_seed(2)
    optimizer = reference.configure_optimizers()
    for _ in range(2):
        for small, large in zip(loader(8, shuffle=False), again_and_again(loader(32, shuffle=False)), strict=False):
            loss = reference.training_step({"small": small, "large": large}, 0)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert same(model, reference)


class GAN(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
        self.generator = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 64))
        self.critic = nn.Sequential(nn.Linear(64, 32), nn.LeakyReLU(), nn.Linear(32, 1))

    def configure_optimizers(self):
        return [torch.optim.Adam(self.generator.parameters(), 1e-3), torch.optim.SGD(self.critic.parameters(), 1e-2)]

    def losses(self, images):
        fake = self.generator(torch.randn(len(images), 8))
        real, made = self.critic(images.flatten(1)), self.critic(fake.detach())
        critic = F.softplus(-real).mean() + F.softplus(made).mean()
        return F.softplus(-self.critic(fake)).mean(), critic

    def training_step(self, batch, batch_idx):
        first, second = self.optimizers()
        generator, critic = self.losses(batch[0])
        first.zero_grad()
        self.manual_backward(generator)
        first.step()
        second.zero_grad()
        self.manual_backward(critic)
        self.clip_gradients(second, gradient_clip_val=0.5, gradient_clip_algorithm="norm")
        second.step()
        self.log_dict({"generator": generator, "critic": critic})


def test_two_optimizers_by_hand_equal_the_hand_written_loop_and_count_one_step_a_batch():
    trainer = quiet(max_epochs=2)
    model = fitted(trainer, loader(), make=GAN)
    torch.manual_seed(1)
    reference = GAN()
    torch.manual_seed(2)
    first, second = reference.configure_optimizers()
    for _ in range(2):
        for images, _ in loader():
            generator, critic = reference.losses(images)
            first.zero_grad()
            generator.backward()
            first.step()
            second.zero_grad()
            critic.backward()
            nn.utils.clip_grad_norm_(reference.critic.parameters(), 0.5)
            second.step()
    assert same(model, reference)
    assert trainer.global_step == 20
