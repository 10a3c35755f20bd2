import io
import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import lt_interfaces
import pytest
from lt_loggers import DummyExperiment, WandbLogger

wandb = pytest.importorskip("wandb")
messages = pytest.importorskip("wandb.proto.wandb_internal_pb2")

BLOCK = 32768


def records(path):
    """The records of a file that wandb wrote offline: in blocks, as LevelDB logs them."""
    data, at, whole = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        left = BLOCK - at % BLOCK
        if left < 7:
            at += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        whole += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            yield messages.Record.FromString(whole)
            whole = b""


def history(path):
    for record in records(path):
        if record.WhichOneof("record_type") == "history":
            items = record.history.item
            row = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}
            yield {name: value for name, value in row.items() if not name.startswith("_")}


def config(path):
    found = {}
    for record in records(path):
        kind = record.WhichOneof("record_type")
        updates = record.run.config.update if kind == "run" else record.config.update if kind == "config" else ()
        found.update({item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in updates})
    return found


@pytest.fixture(autouse=True)
def _alone(tmp_path, monkeypatch):
    for name in ("CONFIG", "CACHE", "DATA"):
        monkeypatch.setenv(f"WANDB_{name}_DIR", str(tmp_path / "wandb-home"))
    for name in ("API_KEY", "PROJECT", "RUN_ID", "MODE"):
        monkeypatch.delenv(f"WANDB_{name}", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    yield
    wandb.finish()
    wandb.teardown()


def file_of(folder, run="*"):
    wandb.finish()
    wandb.teardown()  # returns when all is in the files
    (file,) = Path(folder).glob(f"wandb/offline-run-*/run-{run}.wandb")
    return file


def callback(folder, **others):
    path = folder / "best.ckpt"
    path.write_text("weights")
    told = {"best_model_path": str(path), "last_model_path": "", "best_k_models": {str(path): 0.25}}
    return SimpleNamespace(monitor="val_loss", mode="min", **told, **others)


def artifacts(file):
    return [r.artifact for r in records(file) if r.WhichOneof("record_type") == "artifact"]


def test_records_and_hyperparameters_are_in_the_file_on_the_step_axis(tmp_path):
    logger: lt_interfaces.Logger = WandbLogger("first", tmp_path, offline=True, project="digits", prefix="run")
    assert isinstance(logger, lt_interfaces.Logger)
    logger.log_hyperparams({"model": {"width": 8}, "api_key": "CANARY", "lr": 0.1})
    logger.log_metrics({"loss": 1.0, "epoch": 0}, 4)
    logger.log_metrics({"loss": 0.5})
    logger.finalize("success")
    file = file_of(tmp_path, logger.version)
    rows = list(history(file))
    assert rows[0] == {"run-loss": 1.0, "run-epoch": 0, "trainer/global_step": 4}
    assert rows[1] == {"run-loss": 0.5, "trainer/global_step": 5}
    told = config(file)
    assert (told["model"], told["lr"], told["api_key"]) == ({"width": 8}, 0.1, "***")
    assert b"CANARY" not in file.read_bytes()


def test_the_names_of_the_run_are_known_before_anything_is_opened(tmp_path):
    logger = WandbLogger("called so", tmp_path, offline=True, project="digits")
    assert (logger.name, logger.save_dir) == ("digits", str(tmp_path))
    assert logger.log_dir == str(tmp_path / "digits" / logger.version)
    assert "wandb" not in os.listdir(tmp_path)
    assert (logger.experiment.id, logger.experiment.name) == (logger.version, "called so")
    assert logger.experiment.project == "digits"


def test_two_loggers_are_two_runs_and_a_run_of_the_user_is_used(tmp_path):
    first = WandbLogger(save_dir=tmp_path, offline=True)
    second = WandbLogger(save_dir=tmp_path, offline=True)
    assert first.experiment.id != second.experiment.id
    second.experiment.finish()
    wandb.finish()
    own = wandb.init(project="own", mode="offline", dir=tmp_path)
    with pytest.warns(UserWarning, match="active run .* goes on, and `name='other'`"):
        third = WandbLogger("other", tmp_path)
    assert third.experiment is own
    assert (third.name, third.version) == ("own", own.id)


def test_last_continues_the_run_that_the_folder_saw_last(tmp_path):
    first = WandbLogger(save_dir=tmp_path, offline=True, id="last")
    first.log_metrics({"a": 1}, 0)
    first.finalize("success")
    wandb.finish()
    assert WandbLogger(save_dir=tmp_path, offline=True, id="last").version == first.version
    assert WandbLogger(save_dir=tmp_path, offline=True).version != first.version
    assert WandbLogger(save_dir=tmp_path, offline=True, version="mine").version == "mine"


def test_tables_texts_and_images_are_logged_as_they_were(tmp_path):
    numpy = pytest.importorskip("numpy")
    logger, image = WandbLogger(save_dir=tmp_path, offline=True), numpy.zeros((4, 4, 3), dtype="uint8")
    logger.log_table("table", columns=["a", "b"], data=[[1, 2]], step=3)
    logger.log_text("text", columns=["said"], data=[["hello"]], step=3)
    logger.log_image("image", [image, image + 255], step=7, caption=["one", "two"])
    image += 1
    logger.finalize("success")
    rows = list(history(file_of(tmp_path)))
    assert [row["trainer/global_step"] for row in rows] == [3, 3, 7]
    assert (rows[0]["table/ncols"], rows[1]["text/ncols"]) == (2, 1)
    assert (rows[2]["image/count"], rows[2]["image/captions"]) == (2, ["one", "two"])
    media = [path.parent.name for path in tmp_path.glob("wandb/offline-run-*/files/media/*/*")]
    assert sorted(media) == ["images", "images", "table", "table"]


def test_lists_of_media_are_checked_at_once(tmp_path):
    logger = WandbLogger(save_dir=tmp_path, offline=True)
    with pytest.raises(TypeError, match="`image` takes a list, got str"):
        logger.log_image("image", "a.png")
    with pytest.raises(ValueError, match="`caption` has 1 items for 2 of `image`"):
        logger.log_image("image", ["a.png", "b.png"], caption=["a"])


@pytest.mark.parametrize("log_model", [True, "all"])
def test_a_checkpoint_is_uploaded_also_if_it_is_deleted_meanwhile(tmp_path, log_model):
    logger = WandbLogger(save_dir=tmp_path, offline=True, log_model=log_model, checkpoint_name="net")
    saved = callback(tmp_path)
    logger.after_save_checkpoint(saved)
    logger.after_save_checkpoint(saved)
    if log_model == "all":
        os.remove(saved.best_model_path)
    logger.finalize("success")
    (artifact,) = artifacts(file_of(tmp_path))
    assert (artifact.name, artifact.type, sorted(artifact.aliases)) == ("net", "model", ["best", "latest"])
    assert '"score": 0.25' in artifact.metadata.replace('":0', '": 0')
    assert [entry.path for entry in artifact.manifest.contents] == ["model.ckpt"]
    assert not list(tmp_path.glob(".upload-*"))


def test_no_checkpoint_is_uploaded_unasked(tmp_path):
    logger = WandbLogger(save_dir=tmp_path, offline=True)
    logger.after_save_checkpoint(callback(tmp_path, save_top_k=-1))
    logger.log_metrics({"a": 1}, 0)
    logger.finalize("success")
    assert artifacts(file_of(tmp_path)) == []


def test_gradients_are_watched(tmp_path):
    torch = pytest.importorskip("torch")
    pytest.importorskip("numpy")
    logger, model = WandbLogger(save_dir=tmp_path, offline=True), torch.nn.Linear(2, 1)
    logger.watch(model, log="all", log_freq=1, log_graph=False)
    model(torch.ones(3, 2)).sum().backward()
    logger.log_metrics({"a": 1}, 0)
    logger.finalize("success")
    (row,) = history(file_of(tmp_path))
    assert {"gradients/weight", "parameters/weight", "a"} <= {name.removesuffix("/_type") for name in row} | {
        "/".join(name.split("/")[:2]) for name in row
    }


def test_without_a_key_or_a_server_the_run_is_kept_here(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    logger = WandbLogger(save_dir=tmp_path)
    with pytest.warns(UserWarning, match="W&B cannot be reached: .* send it with `wandb sync .*offline-run-"):
        assert logger.experiment.offline
    logger.log_metrics({"a": 1}, 2)
    logger.finalize("success")
    assert list(history(file_of(tmp_path, logger.version))) == [{"a": 1, "trainer/global_step": 2}]


@pytest.mark.slow
def test_a_server_that_is_away_makes_the_run_offline(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_API_KEY", "c0ffee" * 7)
    monkeypatch.setattr(WandbLogger, "connect_seconds", 120.0)
    logger = WandbLogger(save_dir=tmp_path, settings={"init_timeout": 1})
    logger.log_metrics({"a": 1}, 2)
    with pytest.warns(UserWarning, match="W&B cannot be reached: (?!.*c0ffee).* `wandb sync .*offline-run-"):
        assert logger.experiment.offline
    logger.finalize("success")
    assert list(history(file_of(tmp_path, logger.version))) == [{"a": 1, "trainer/global_step": 2}]


def test_artifacts_are_asked_of_the_run(tmp_path):
    asked = []
    run = SimpleNamespace(id="r", project="p", use_artifact=lambda *args, **kwargs: asked.append((args, kwargs)))
    WandbLogger(save_dir=tmp_path, experiment=run).use_artifact("e/p/model:v1", "model")
    assert asked == [(("e/p/model:v1",), {"type": "model"})]


def test_arguments_are_checked_when_the_logger_is_made(tmp_path):
    with pytest.raises(TypeError, match="Did you mean `entity`"):
        WandbLogger(save_dir=tmp_path, entitty="me")
    with pytest.raises(ValueError, match="`log_model` must be True, False or 'all', got 'best'"):
        WandbLogger(save_dir=tmp_path, log_model="best")
    with pytest.raises(ValueError, match="`add_file_policy` must be"):
        WandbLogger(save_dir=tmp_path, add_file_policy="link")


def test_without_wandb_the_command_that_installs_it_is_named():
    code = "import sys; sys.modules['wandb'] = None\nfrom lt_loggers import WandbLogger\nWandbLogger()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (
        'ImportError: `WandbLogger` needs wandb, which is not installed. Run `pip install "lt-loggers[' in done.stderr
    )


def test_other_ranks_open_no_run(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    logger = WandbLogger(save_dir=tmp_path / "logs", offline=True, log_model="all")
    logger.log_metrics({"a": 1})
    logger.log_text("t", columns=["a"], data=[["b"]])
    logger.after_save_checkpoint(callback(tmp_path))
    logger.finalize("success")
    assert isinstance(logger.experiment, DummyExperiment)
    assert not (tmp_path / "logs").exists()
