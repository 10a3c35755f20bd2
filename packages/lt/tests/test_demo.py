"""The demo's data as it travels with the package, and its model."""

from importlib.metadata import entry_points
from importlib.resources import files

import pytest
import torch
from lt.demo import DigitClassifier, Digits, load_digits


def test_the_digits_are_all_there():
    images, labels = load_digits()
    assert (images.shape, images.dtype) == ((1797, 1, 8, 8), torch.float32)
    assert (labels.shape, labels.dtype) == ((1797,), torch.int64)
    assert (images.min(), images.max()) == (0, 1)
    assert labels.bincount().tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_the_attribution_travels_with_them():
    said = files("lt.demo").joinpath("DIGITS.md").read_text()
    assert all(
        words in said for words in ("Alpaydin", "UCI Machine Learning Repository", "CC BY 4.0", "10.24432/C50P49")
    )


def test_the_three_parts_share_no_image_and_follow_the_seed():
    def parts(seed):
        data = Digits(split_seed=seed)
        data.setup("fit")
        return [part.tensors[0] for part in (data.train, data.val, data.test)]

    first = parts(0)
    assert [len(part) for part in first] == [1257, 270, 270]
    assert all(map(torch.equal, first, parts(0)))
    assert not torch.equal(first[0], parts(1)[0])
    images, _ = load_digits()
    assert torch.cat(first).sum() == pytest.approx(images.sum().item())


def test_the_loaders_give_batches_of_the_asked_size():
    data = Digits(batch_size=50)
    data.setup("fit")
    for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader(), data.predict_dataloader()):
        images, labels = next(iter(loader))
        assert (images.shape, labels.shape) == ((50, 1, 8, 8), (50,))


def test_the_model_takes_them_and_remembers_its_arguments():
    model = DigitClassifier(width=4, lr=0.1)
    assert model(torch.rand(3, 1, 8, 8)).shape == (3, 10)
    assert model.predict_step((torch.rand(3, 1, 8, 8),), 0).shape == (3,)
    assert (model.hparams.width, model.hparams.lr) == (4, 0.1)


def test_the_command_line_finds_the_demo_by_its_entry_points():
    found = {point.name: point.value for point in entry_points(group="lt.cli") if point.dist.name == "lt"}
    demo = {"trainer": "lt:Trainer", "model": "lt.demo:DigitClassifier", "data": "lt.demo:Digits"}
    assert demo.items() <= found.items()
