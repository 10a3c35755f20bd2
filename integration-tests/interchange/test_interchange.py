"""Checkpoints go between lt and Lightning: weights, position, optimizers, schedules, callbacks, data, and back.

Needs Lightning, so it has a session of its own: `nox -s interchange`.
"""

import subprocess
import sys
from pathlib import Path

import pytest

lightning = pytest.importorskip("lightning", reason="Lightning is installed in the session `interchange` only")

import lt  # noqa: E402
import lt_checkpoint  # noqa: E402
import torch  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent))
from twins import BATCHES, EPOCHS, KINDS, SAVED_AFTER, data_class, fit, model_class, same  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning has some of its own
FRAMEWORKS = {"lt": lt, "Lightning": lightning}
both_ways = pytest.mark.parametrize(("writer", "reader"), [("lt", "Lightning"), ("Lightning", "lt")])
every_kind = pytest.mark.parametrize("kind", KINDS)
every_moment = pytest.mark.parametrize("moment", SAVED_AFTER)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Runs that were trained to the end and saved on the way, each made once."""
    made = {}

    def run(framework, kind, moment):
        key = framework, kind, moment
        if key not in made:
            folder = tmp_path_factory.mktemp("written")
            made[key] = (*fit(FRAMEWORKS[framework], kind, folder, SAVED_AFTER[moment]), folder / "saved.ckpt")
        return made[key]

    return run


@every_moment
@every_kind
def test_both_train_alike(written, kind, moment):
    ours, theirs = (written(framework, kind, moment)[0].lightning_module for framework in FRAMEWORKS)
    assert same(dict(ours.state_dict()), dict(theirs.state_dict()))


@both_ways
@every_moment
@every_kind
def test_training_goes_on_where_the_other_framework_saved(written, writer, reader, kind, moment):
    before, _, path = written(writer, kind, moment)
    after, watch = fit(FRAMEWORKS[reader], kind, path.parent, ckpt_path=path)
    left = [divmod(n, BATCHES) for n in range(SAVED_AFTER[moment], EPOCHS * BATCHES)]
    assert watch.places == left
    assert (before.current_epoch, after.current_epoch) == (EPOCHS, EPOCHS)
    by_hand = kind == "two optimizers by hand"  # where Lightning counts two steps a batch
    if reader == "lt" or not by_hand:
        assert watch.steps == list(range(SAVED_AFTER[moment], EPOCHS * BATCHES))
    if not by_hand:
        assert after.global_step == before.global_step == EPOCHS * BATCHES
    if reader == "lt" or moment == "end of epoch":
        assert same(dict(before.lightning_module.state_dict()), dict(after.lightning_module.state_dict()))
    else:  # Lightning starts again with the first batches of the epoch, also from a file of its own
        own, _ = fit(lightning, kind, path.parent, ckpt_path=written("Lightning", kind, moment)[2])
        assert same(dict(own.lightning_module.state_dict()), dict(after.lightning_module.state_dict()))


@both_ways
@every_moment
@every_kind
def test_optimizers_schedules_callbacks_and_data_are_restored(written, writer, reader, kind, moment):
    path = written(writer, kind, moment)[2]
    restored = fit(FRAMEWORKS[reader], kind, path.parent, ckpt_path=path)[1].restored
    saved = lt_checkpoint.load(path)
    assert same(restored["optimizers"], [o["state"] for o in saved["optimizer_states"]])
    assert restored["schedulers"] == [s["last_epoch"] for s in saved["lr_schedulers"]]
    assert (restored["data"], restored["own"]) == (5, {"note": 7})
    states = {key.partition("{")[0]: state for key, state in saved["callbacks"].items()}
    assert restored["early stopping"] == float(states["EarlyStopping"]["best_score"])
    keep = states["ModelCheckpoint"]
    assert restored["checkpoints"] == (keep["best_model_path"], float(keep["best_model_score"] or 0))


@both_ways
@every_kind
def test_a_module_and_a_data_module_are_built_from_the_others_file(written, writer, reader, kind):
    path = written(writer, kind, "mid-epoch")[2]
    L = FRAMEWORKS[reader]
    model = model_class(L, kind).load_from_checkpoint(path, extra=2.0)
    assert dict(model.hparams) == {"kind": kind, "width": 6, "extra": 2.0}
    assert same(dict(model.state_dict()), lt_checkpoint.load(path)["state_dict"])
    data = data_class(L).load_from_checkpoint(path)
    assert (dict(data.hparams), data.seen) == ({"batch_size": 4}, 5)


@both_ways
@pytest.mark.parametrize("kind", ["one optimizer", "weight averaging"])
def test_validation_of_the_others_file_gives_the_same_value(written, writer, reader, kind):
    path = written(writer, kind, "mid-epoch")[2]
    values = []
    for name in (writer, reader):
        L = FRAMEWORKS[name]
        trainer = L.Trainer(accelerator="cpu", devices=1, logger=False, enable_progress_bar=False)
        model, data = model_class(L, kind)(kind, width=6), data_class(L)(batch_size=4)
        values += trainer.validate(model, datamodule=data, ckpt_path=str(path), verbose=False)
    assert values[0].keys() == values[1].keys() == {"val_loss"}
    assert values[0]["val_loss"] == pytest.approx(values[1]["val_loss"], rel=1e-6)


ALONE = """
import sys, torch
weights = torch.load(sys.argv[1], weights_only=True)["state_dict"]
net = torch.nn.Sequential(torch.nn.Linear(3, 6), torch.nn.ReLU(), torch.nn.Linear(6, 1))
net.load_state_dict({name.removeprefix("net."): value for name, value in weights.items()})
assert not [name for name in sys.modules if name.partition(".")[0].startswith(("lt", "lightning"))]
"""


@pytest.mark.parametrize("kind", ["one optimizer", "weight averaging"])
def test_the_weights_load_with_torch_and_nothing_else(written, kind):
    path = written("lt", kind, "mid-epoch")[2]
    done = subprocess.run([sys.executable, "-c", ALONE, str(path)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_a_sharded_checkpoint_becomes_one_file_that_lightning_continues_from(tmp_path):
    kind = "schedule by epoch"
    model, data = model_class(lt, kind)(kind, width=6), data_class(lt)(batch_size=4)
    strategy = lt.strategies.FSDPStrategy(state_dict_type="sharded", start_method="fork")
    trainer = lt.Trainer(
        max_epochs=1, accelerator="cpu", devices=2, strategy=strategy, logger=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0, default_root_dir=tmp_path,
        callbacks=[lt.callbacks.ModelCheckpoint(tmp_path / "kept", monitor="val_loss", filename="it"),
                   lt.callbacks.EarlyStopping("val_loss", patience=50)],
    )  # fmt: skip
    trainer.fit(model, datamodule=data)
    folder, file = tmp_path / "kept" / "it.ckpt", tmp_path / "one.ckpt"
    assert folder.is_dir()
    command = [sys.executable, "-m", "lt_checkpoint", "consolidate", str(folder), str(file)]
    assert subprocess.run(command, timeout=120).returncode == 0
    loaded = model_class(lightning, kind).load_from_checkpoint(file)
    weights = torch.load(file, weights_only=True)["state_dict"]
    assert same(dict(loaded.state_dict()), dict(weights))
    _, watch = fit(lightning, kind, tmp_path, ckpt_path=file)
    assert watch.places[0] == (1, 0)
