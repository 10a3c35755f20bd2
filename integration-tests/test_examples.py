"""The five programs of the tutorials, run as they stand; docs/examples holds them."""

import contextlib
import csv
import io
import itertools
import runpy
import struct
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import lt as L
import pytest
import torch
import torch.nn.functional as F
from lt.demo import load_digits
from programs import EXAMPLES, python
from torch import Tensor, nn
from torch.optim import Adam
from torch.utils.data import DataLoader, TensorDataset, random_split

needs_no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without a GPU")


@dataclass
class Run:
    """What an example left: its names, what it printed, its folder."""

    names: SimpleNamespace
    printed: str
    folder: Path


def run_example(name: str, folder: Path, seed: int = 7) -> Run:
    printed = io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(printed):
        torch.manual_seed(seed)
        names = runpy.run_path(str(EXAMPLES / name))
    return Run(SimpleNamespace(**names), printed.getvalue(), folder)


def weights_in(path: str | Path) -> dict[str, Tensor]:
    return torch.load(path, weights_only=True)["state_dict"]


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    """The same tensors bit for bit."""
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


class Watch:
    """Notes the mode of the module and of autograd at every batch that is evaluated."""

    def __init__(self) -> None:
        self.seen: set[tuple[bool, bool]] = set()

    def on_validation_batch_start(self, trainer, pl_module, *_):
        self.seen.add((any(m.training for m in pl_module.modules()), torch.is_grad_enabled()))

    on_test_batch_start = on_predict_batch_start = on_validation_batch_start


# The quickstart


def write_idx(path: Path, tensor: Tensor) -> None:
    header = struct.pack(f">{1 + tensor.dim()}i", 0x0800 + tensor.dim(), *tensor.shape)
    path.write_bytes(header + bytes(tensor.flatten().tolist()))


@pytest.fixture(scope="module")
def mnist(tmp_path_factory) -> Path:
    """A folder in which torchvision's own class finds the embedded digits, enlarged, as MNIST."""
    folder = tmp_path_factory.mktemp("quickstart")
    raw = folder / "data/MNIST/raw"
    raw.mkdir(parents=True)
    images, labels = load_digits()
    pixels = (255 * F.interpolate(images, size=28)).round().byte().squeeze(1)
    for name, part in (("train", slice(1500)), ("t10k", slice(1500, None))):
        write_idx(raw / f"{name}-images-idx3-ubyte", pixels[part])
        write_idx(raw / f"{name}-labels-idx1-ubyte", labels[part].byte())
    return folder


def by_hand(mnist: Path, names: SimpleNamespace, epochs: int, batches: int, **options) -> dict[str, Tensor]:
    """The weights after the loop of the tutorial that comes before any framework."""
    from torchvision.datasets import MNIST

    torch.manual_seed(7)
    dataset = MNIST(str(mnist / "data"), download=False, transform=names.ToTensor())
    train, _ = random_split(dataset, [0.8, 0.2])
    model = names.AutoEncoder()
    loader = DataLoader(train, **options)
    optimizer = Adam(model.parameters(), lr=1e-3)
    for _ in range(epochs):
        for images, _ in itertools.islice(loader, batches):
            pixels = images.flatten(1)
            loss = F.mse_loss(model.decoder(model.encoder(pixels)), pixels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model.state_dict()


@pytest.fixture(scope="module")
def quickstart(mnist) -> Run:
    """The example as it is; only the environment limits its bare trainer."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LT_TRAINER_MAX_EPOCHS", "2")
        patch.setenv("LT_TRAINER_LIMIT_TRAIN_BATCHES", "150")
        patch.setenv("LT_TRAINER_LIMIT_VAL_BATCHES", "30")
        return run_example("quickstart.py", mnist)


def test_quickstart_gives_the_weights_of_the_hand_written_loop_bit_for_bit(quickstart, mnist):
    assert "L.Trainer()" in (EXAMPLES / "quickstart.py").read_text()
    assert (quickstart.names.trainer.current_epoch, quickstart.names.trainer.global_step) == (2, 300)
    assert_same(quickstart.names.autoencoder.state_dict(), by_hand(mnist, quickstart.names, 2, 150))


def test_quickstart_reads_the_files_there_are_and_downloads_nothing(quickstart):
    raw = sorted(path.name for path in (quickstart.folder / "data/MNIST/raw").iterdir())
    assert raw == [f"{part}-{what}-ubyte" for part in ("t10k", "train") for what in ("images-idx3", "labels-idx1")]
    assert len(quickstart.names.dataset) == 1500
    assert quickstart.names.dataset[0][0].shape == (1, 28, 28)


def test_quickstart_learns_and_embeds(quickstart):
    model, images = quickstart.names.autoencoder, quickstart.names.dataset.data[:50] / 255
    before = quickstart.names.AutoEncoder()
    error = [F.mse_loss(m.decoder(m(images)), images.flatten(1)).item() for m in (before, model)]
    assert error[1] < error[0] / 2
    assert model(images).shape == (50, 3)


def test_shuffling_validation_and_logging_leave_the_weights_alone(quickstart, mnist, tmp_path):
    names = quickstart.names
    options = {"batch_size": 16, "shuffle": True}
    torch.manual_seed(7)
    train, val = random_split(names.dataset, [0.8, 0.2])
    model = names.AutoEncoder()
    trainer = L.Trainer(
        max_epochs=3, limit_train_batches=20, val_check_interval=7, log_every_n_steps=1, default_root_dir=tmp_path
    )
    trainer.fit(model, DataLoader(train, **options), DataLoader(val, **options))
    assert_same(model.state_dict(), by_hand(mnist, names, 3, 20, **options))


# The conversion guide


@pytest.fixture(scope="module")
def conversion(tmp_path_factory) -> Run:
    return run_example("conversion.py", tmp_path_factory.mktemp("conversion"))


def test_validate_test_and_predict_load_the_best_checkpoint_by_themselves(conversion, monkeypatch):
    monkeypatch.chdir(conversion.folder)
    names, trainer = conversion.names, conversion.names.trainer
    best = weights_in(trainer.checkpoint_callback.best_model_path)
    assert "epoch=5" not in trainer.checkpoint_callback.best_model_path  # the last of the fit is another one
    assert_same(names.model.state_dict(), best)
    assert "mean" in best
    for again, first in ((trainer.validate, names.validated), (trainer.test, names.tested)):
        torch.nn.init.zeros_(names.model.net[1].weight)
        assert again(names.model, names.val if first is names.validated else names.test, verbose=False) == first
        assert_same(names.model.state_dict(), best)
    torch.nn.init.zeros_(names.model.net[1].weight)
    predicted = trainer.predict(names.model, names.test)
    assert all(map(torch.equal, predicted, names.predictions))


def test_the_model_alone_is_enough_where_it_has_loaders(conversion, monkeypatch):
    monkeypatch.chdir(conversion.folder)
    names = conversion.names
    monkeypatch.setattr(names.model, "val_dataloader", lambda: names.val, raising=False)
    monkeypatch.setattr(names.model, "test_dataloader", lambda: names.test, raising=False)
    assert names.trainer.validate(names.model, verbose=False) == names.validated
    assert names.trainer.test(names.model, verbose=False) == names.tested


def test_evaluation_turns_training_mode_and_gradients_off_by_itself(conversion, monkeypatch):
    monkeypatch.chdir(conversion.folder)
    names, watch = conversion.names, Watch()
    names.trainer.callbacks.append(watch)
    names.trainer.validate(names.model, names.val, verbose=False)
    names.trainer.test(names.model, names.test, verbose=False)
    names.trainer.predict(names.model, names.test)
    names.trainer.callbacks.remove(watch)
    assert watch.seen == {(False, False)}
    assert names.model.training


def test_the_scheduler_of_the_second_list_steps_once_an_epoch(conversion):
    [config] = conversion.names.trainer.lr_scheduler_configs
    assert config.scheduler.last_epoch == 6
    assert conversion.names.trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(1e-2 * 0.5**3)


def test_predictions_are_one_tensor_a_batch(conversion):
    names = conversion.names
    assert [len(p) for p in names.predictions] == [100, 100, 97]
    share = (torch.cat(names.predictions) == names.labels[1500:]).float().mean().item()
    assert share == pytest.approx(names.tested[0]["test_acc"])
    assert share > 0.8
    assert ".cuda(" not in (EXAMPLES / "conversion.py").read_text().partition('"""\n')[2]


# The classifier


@pytest.fixture(scope="module")
def classifier(tmp_path_factory) -> Run:
    return run_example("classifier.py", tmp_path_factory.mktemp("classifier"))


def test_the_classifier_stops_early(classifier):
    trainer = classifier.names.trainer
    [stopping] = trainer.early_stopping_callbacks
    assert 3 < trainer.current_epoch < 100
    assert stopping.wait_count == stopping.patience


def test_the_metric_tables_are_printed_and_say_what_is_returned(classifier):
    for stage, [row] in (("validate", classifier.names.validated), ("test", classifier.names.tested)):
        table = classifier.printed.split(f"{stage} ")[1]
        for name, value in row.items():
            assert f"{name} {value:.6g}" in " ".join(table.split())


def test_results_are_those_of_the_model_by_hand(classifier):
    names, model = classifier.names, classifier.names.model.eval()
    with torch.no_grad():
        logits = model(names.images[1500:])
    expected = {"test_loss": nn.functional.cross_entropy(logits, names.labels[1500:]).item()}
    expected["test_acc"] = (logits.argmax(1) == names.labels[1500:]).float().mean().item()
    assert names.tested == [pytest.approx(expected, rel=1e-5)]
    assert torch.allclose(torch.cat(names.probabilities), logits.softmax(1), atol=1e-6)


def test_the_csv_file_holds_every_epoch(classifier):
    with open(classifier.folder / "logs/test/version_0/metrics.csv") as file:
        rows = list(csv.DictReader(file))
    epochs = [int(float(row["epoch"])) for row in rows if row["train_loss_epoch"]]
    assert epochs == list(range(classifier.names.trainer.current_epoch))
    losses = [float(row["valid_loss"]) for row in rows if row["valid_loss"]]
    [stopping] = classifier.names.trainer.early_stopping_callbacks
    assert min(losses) == pytest.approx(float(stopping.best_score), rel=1e-5)
    assert float([row["test_acc"] for row in rows if row["test_acc"]][-1]) == pytest.approx(
        classifier.names.tested[0]["test_acc"]
    )


def test_the_tensorboard_files_read_back(classifier):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(classifier.folder / "logs/board/version_0"))
    events.Reload()
    assert {"train_loss_step", "train_loss_epoch", "valid_loss", "test_acc"} <= set(events.Tags()["scalars"])
    steps = [event.step for event in events.Scalars("train_acc")]
    assert steps == [19 * (n + 1) for n in range(classifier.names.trainer.current_epoch)]


# The linear regression in the old spelling


def test_the_line_is_found(tmp_path):
    with pytest.warns(DeprecationWarning, match=r"`Trainer\(gpus=.*\)` is an old spelling\. Write `accelerator="):
        run = run_example("linear_regression.py", tmp_path)
    line = run.names.model.line
    assert (line.weight.item(), line.bias.item()) == pytest.approx((3.0, 1.0), abs=0.01)
    assert "y = 3.00 x + 1.00" in run.printed


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_line_is_found_on_a_gpu_in_half_precision(tmp_path):
    with pytest.warns(DeprecationWarning, match="Write `accelerator='gpu', devices=1`"):
        run = run_example("linear_regression.py", tmp_path)
    assert run.names.trainer.engine.device.type == "cuda"
    assert "y = 3.00 x + 1.00" in run.printed


@needs_no_gpu
def test_the_old_spelling_names_the_new_one_and_the_devices_there_are():
    with (
        pytest.warns(DeprecationWarning, match="Write `accelerator='gpu', devices=1`"),
        pytest.raises(ValueError, match=r"this machine has no CUDA GPU; available: cpu\. Pass one of these"),
    ):
        L.Trainer(gpus=1, precision=16, max_epochs=100)


def test_configure_optimizer_is_told_its_right_name(tmp_path):
    class LinearRegression(L.LightningModule):
        def training_step(self, batch, batch_idx):
            return batch.sum()

        def configure_optimizer(self):
            return None

    with pytest.raises(ValueError, match="Did you mean `configure_optimizers`"):
        L.Trainer(default_root_dir=tmp_path).fit(LinearRegression(), DataLoader(TensorDataset(torch.ones(4))))
    assert list(tmp_path.iterdir()) == []


# The structured project


@pytest.fixture(scope="module")
def projects(tmp_path_factory) -> list[Path]:
    """The folders of two runs with the same arguments."""
    folders = [tmp_path_factory.mktemp("project") for _ in range(2)]
    for folder in folders:
        done = python(EXAMPLES / "project/main.py", "--max_epochs", 2, "--hidden_dim", 32, cwd=folder)
        assert done.returncode == 0, done.stderr
        assert "test_acc" in done.stdout
    return folders


def checkpoint_of(folder: Path) -> Path:
    [path] = folder.glob("lightning_logs/version_0/checkpoints/*.ckpt")
    return path


def test_the_same_seed_gives_the_same_weights(projects):
    one, other = (weights_in(checkpoint_of(folder)) for folder in projects)
    assert_same(one, other)


def test_hyperparameters_are_in_the_checkpoint_and_in_the_logger(projects):
    saved = torch.load(checkpoint_of(projects[0]), weights_only=True)
    assert saved["hyper_parameters"] == {"hidden_dim": 32, "learning_rate": 1e-3}
    assert saved["datamodule_hyper_parameters"] == {"batch_size": 32}
    assert saved["epoch"] == 1
    logged = (projects[0] / "lightning_logs/version_0/hparams.yaml").read_text()
    assert sorted(logged.splitlines()) == ["batch_size: 32", "hidden_dim: 32", "learning_rate: 0.001"]


def test_the_model_comes_back_from_its_checkpoint(projects, monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES / "project")
    from model import DigitModel

    path = checkpoint_of(projects[0])
    model = DigitModel.load_from_checkpoint(path)
    assert model.hparams == {"hidden_dim": 32, "learning_rate": 1e-3}
    assert_same(model.state_dict(), weights_in(path))
