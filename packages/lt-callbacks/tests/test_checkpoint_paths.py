import os

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lt_callbacks import ModelCheckpoint
from lt_callbacks.checkpoint_paths import is_inside, is_same, render

NUMBERS = st.one_of(st.integers(), st.floats())


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("{epoch}-{step}", "epoch=2-step=30"),
        ("{epoch:03d}", "epoch=002"),
        ("a{val_loss:.2f}", "aval_loss=0.12"),
        ("{val/acc:.1f}", "val_acc=0.9"),
        ("{missing:.2f}", "missing=0.00"),
        ("plain", "plain"),
    ],
)
def test_templates_render_as_expected(template, name):
    metrics = {"epoch": 2, "step": 30, "val_loss": torch.tensor(0.1234), "val/acc": torch.tensor(0.9)}
    assert render(template, metrics, "=") == name


def test_values_alone_can_be_shown():
    assert render("{epoch}_{loss:.1f}", {"epoch": 1, "loss": 0.25}, None) == "1_0.2"


@given(st.text(st.characters(blacklist_characters="{}:!", blacklist_categories=("Cs",)), min_size=1), NUMBERS)
def test_a_metric_never_leads_out_of_the_folder(name, value):
    saver = ModelCheckpoint("/some/folder", filename="{" + name + "}x")
    path = saver.format_checkpoint_name({name: value})
    assert os.path.dirname(path) == "/some/folder"


def test_names_are_made_of_prefix_name_and_version():
    saver = ModelCheckpoint("/d", filename="{epoch}")
    assert saver.format_checkpoint_name({"epoch": 1}) == "/d/epoch=1.ckpt"
    assert saver.format_checkpoint_name({"epoch": 1}, "{step}", ver=2, prefix="p") == "/d/p-step=0-v2.ckpt"


def test_class_attributes_change_the_spelling(trainer_of, tmp_path, files):
    class Mine(ModelCheckpoint):
        CHECKPOINT_JOIN_CHAR = "_"
        CHECKPOINT_EQUALS_CHAR = ":"
        CHECKPOINT_NAME_LAST = "{epoch}_newest"
        FILE_EXTENSION = ".pt.ckpt"

    trainer_of(Mine(tmp_path, save_last=True), max_epochs=2).fit()
    assert files() == ["epoch:1_newest.pt.ckpt", "epoch:1_step:20.pt.ckpt"]


def test_a_link_out_of_the_folder_is_not_inside(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/link").symlink_to(tmp_path)
    assert is_inside(str(tmp_path / "in/x.ckpt"), str(tmp_path / "in"))
    assert not is_inside(str(tmp_path / "in/link/x.ckpt"), str(tmp_path / "in"))


def test_an_address_stays_what_it_is_and_keeps_its_files_below(tmp_path):
    saver = ModelCheckpoint("s3://bucket/run/", filename="{epoch}")
    assert saver.dirpath == "s3://bucket/run"
    assert saver.format_checkpoint_name({"epoch": 1}) == "s3://bucket/run/epoch=1.ckpt"
    assert is_inside("s3://bucket/run/x.ckpt", saver.dirpath)
    assert not is_inside("s3://bucket/run/../x.ckpt", saver.dirpath)
    assert not is_inside("s3://bucket/running/x.ckpt", saver.dirpath)
    assert is_same("s3://bucket/run", saver.dirpath)
    assert not is_same("s3://bucket/run", str(tmp_path))
    assert ModelCheckpoint(f"file://{tmp_path}").dirpath == str(tmp_path)
    with pytest.raises(ValueError, match="`to_yaml` writes to this machine only"):
        saver.to_yaml()


def test_a_trainer_that_knows_which_checkpoints_exist_is_asked_and_told_of_the_folder(trainer_of, tmp_path, files):
    claimed = []
    known = [str(tmp_path / "epoch=0-step=10.ckpt")]
    trainer = trainer_of(ModelCheckpoint(tmp_path), checkpoint_exists=known.__contains__, claim_folder=claimed.append)
    trainer.fit()
    assert files() == ["epoch=0-step=10-v1.ckpt"]
    assert claimed == [str(tmp_path)]
