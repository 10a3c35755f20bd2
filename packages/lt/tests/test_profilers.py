"""Profilers by name, and the line that says where the time of a fit went."""

import re

import lt as L
import pytest
from lt.demo import DigitClassifier, Digits
from lt.profilers import AdvancedProfiler, PassThroughProfiler, PyTorchProfiler, SimpleProfiler


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("simple", SimpleProfiler),
        ("advanced", AdvancedProfiler),
        ("pytorch", PyTorchProfiler),
        (None, PassThroughProfiler),
    ],
)
def test_a_name_becomes_a_profiler(name, kind):
    assert type(L.Trainer(profiler=name).profiler) is kind


def test_an_object_stays_the_same():
    profiler = SimpleProfiler()
    assert L.Trainer(profiler=profiler).profiler is profiler


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(ValueError, match=r"'simpel' among the profilers\. Did you mean `simple`"):
        L.Trainer(profiler="simpel")


def test_under_a_profiler_data_and_steps_are_told_apart(tmp_path, capsys):
    trainer = L.Trainer(
        max_epochs=1, limit_train_batches=3, default_root_dir=tmp_path, profiler=SimpleProfiler(filename="perf")
    )
    trainer.fit(DigitClassifier(width=2), datamodule=Digits())
    [line] = re.findall(r"^Time: .*$", capsys.readouterr().out, re.MULTILINE)
    shares, _, reads = line.removeprefix("Time:").partition(";")
    told = {part.strip(" 0123456789%") for part in shares.split(",")}
    assert told == {"set-up", "data", "steps", "validation", "checkpoints", "logging", "hooks", "all else"}
    assert re.fullmatch(r" numbers were read from the device \d+ times?", reads)
    written = (tmp_path / "lightning_logs" / "version_0" / "fit-perf-0.txt").read_text()
    assert "[Strategy]SingleDeviceStrategy.training_step" in written
