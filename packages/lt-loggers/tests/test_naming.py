import pytest
from hypothesis import given
from hypothesis import strategies as st
from lt_loggers.report.naming import Section, is_less_better, place


@pytest.mark.parametrize(
    ("name", "chart", "label"),
    [
        ("train_loss", "loss", "train"),
        ("loss/val", "loss", "validation"),
        ("Loss/Train", "Loss", "train"),
        ("train_loss_epoch", "loss", "train (epoch)"),
        ("val_loss/dataloader_idx_1", "loss", "validation 1"),
        ("test.top1.acc", "top1.acc", "test"),
        ("grad_norm", "grad_norm", "grad_norm"),
        ("val", "val", "val"),
        ("train_", "train_", "train_"),
        ("lr-AdamW/pg1", "learning rate", "AdamW/pg1"),
        ("lr-SGD-momentum", "momentum", "SGD"),
        ("lr", "learning rate", "lr"),
        ("validate/device/samples_per_sec", "device/samples_per_sec", "validation"),
    ],
)
def test_a_name_tells_its_chart_and_its_label(name, chart, label):
    assert place(name)[1:3] == (chart, label)


@pytest.mark.parametrize(
    ("name", "section"),
    [
        ("val_loss", Section.METRICS),
        ("sentiment", Section.METRICS),
        ("tokens_per_sec", Section.SPEED),
        ("step_time", Section.SPEED),
        ("train/device/samples_per_sec", Section.SPEED),
        ("train/samples", Section.DEVICE),
        ("validate/time", Section.DEVICE),
        ("DeviceStatsMonitor.on_train_batch_end/active.all.peak", Section.DEVICE),
        ("gpu_0/memory", Section.DEVICE),
    ],
)
def test_a_name_tells_its_section(name, section):
    assert place(name).section is section


@pytest.mark.parametrize(
    ("name", "less"),
    [
        ("val_loss", True), ("val/crossEntropy", None), ("valRMSE", True), ("top1_err", True), ("wer", True),
        ("val_acc", False), ("MulticlassAccuracy", False), ("f1", False), ("mAP_50", False), ("grad_norm", None),
    ],
)  # fmt: skip
def test_a_name_tells_if_less_is_better_or_says_nothing(name, less):
    assert is_less_better(name) is less


@given(st.text())
def test_any_name_has_a_place(name):
    assert place(name).label or not name
