"""Flags of former years: translated with a warning, refused with the new way, or unknown."""

import lt as L
import pytest
from lt.callbacks import ModelCheckpoint, ModelSummary, ProgressBar
from lt.old_flags import REMOVED, translate


def kinds(trainer):
    return [type(cb) for cb in trainer.callbacks]


def old(**flag):
    with pytest.warns(DeprecationWarning, match="is an old spelling") as said:
        trainer = L.Trainer(**flag)
    assert [warning.filename for warning in said] == [__file__]
    return trainer


@pytest.mark.parametrize("value", [None, 0, [], ""])
def test_no_gpus_is_the_cpu(value):
    assert old(gpus=value).engine.device.type == "cpu"


def test_gpus_are_an_accelerator_and_devices():
    with pytest.warns(DeprecationWarning, match=r"`Trainer\(gpus=2\)` .* Write `accelerator='gpu', devices=2`\."):
        assert translate({"gpus": 2}, []) == {"accelerator": "gpu", "devices": 2}


def test_processes_and_their_backend_are_devices_and_a_strategy():
    with pytest.warns(DeprecationWarning, match="Write `devices=2`|Write `strategy='ddp'`"):
        trainer = L.Trainer(num_processes=2, distributed_backend="ddp", accelerator="cpu")
    assert trainer.num_devices == 2
    assert isinstance(trainer.strategy, L.strategies.DDPStrategy)


def test_switches_of_the_defaults_have_new_names():
    assert ModelCheckpoint not in kinds(old(checkpoint_callback=False))
    assert ModelSummary not in kinds(old(weights_summary=None))
    assert not [kind for kind in kinds(old(progress_bar_refresh_rate=0)) if issubclass(kind, ProgressBar)]
    assert old(replace_sampler_ddp=False).use_distributed_sampler is False


@pytest.mark.parametrize("name", REMOVED)
def test_what_is_gone_names_the_new_way(name):
    with pytest.raises(TypeError, match=rf"`Trainer` no longer takes `{name}`\. [A-Z].*\."):
        L.Trainer(**{name: True})


def test_an_unknown_flag_is_told_the_nearest_one():
    with pytest.raises(TypeError, match=r"`Trainer` has no argument `max_epoch`\. Did you mean `max_epochs`\?"):
        L.Trainer(max_epoch=3)
    with pytest.raises(TypeError, match="Known: `accelerator`, "):
        L.Trainer(zzz=3)
