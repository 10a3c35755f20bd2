import pytest
from lt_interfaces import Progress, Stage


def test_a_stage_is_its_string():
    assert Stage.FIT == "fit"
    assert f"{Stage.SANITY_CHECK}" == "sanity_check"
    assert Stage("validate") is Stage.VALIDATE


def test_progress_starts_at_zero_and_refuses_other_counts():
    progress = Progress()
    assert (progress.epoch, progress.step, progress.batch, progress.window) == (0, 0, 0, 0)
    with pytest.raises(AttributeError):
        progress.epochs = 1


def test_progress_is_written_by_name():
    with pytest.raises(TypeError):
        Progress(1)
    assert Progress(step=3) == Progress(epoch=0, step=3)
