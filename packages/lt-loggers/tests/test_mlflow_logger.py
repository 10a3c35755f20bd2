import os
import socket
import subprocess
import sys
import time
from importlib.metadata import distributions
from pathlib import Path
from types import SimpleNamespace
from urllib.request import urlopen

import lt_interfaces
import pytest
from lt_loggers import DummyExperiment, MLFlowLogger

mlflow = pytest.importorskip("mlflow")
pytest.importorskip("sqlalchemy")
pytest.importorskip("alembic")

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning"
)


@pytest.fixture(autouse=True)
def _patient(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(MLFlowLogger, "connect_seconds", 300.0)  # making the database's tables is slow
    monkeypatch.setattr(MLFlowLogger, "finish_seconds", 300.0)


@pytest.fixture(scope="module")
def uri(tmp_path_factory):
    return f"sqlite:///{tmp_path_factory.mktemp('store') / 'mlflow.db'}"


def logger_at(uri, folder, name="digits", **others):
    return MLFlowLogger(name, tracking_uri=uri, save_dir=folder, artifact_location=(folder / "art").as_uri(), **others)


def run_of(logger):
    return logger.experiment.get_run(logger.run_id)


def answers(url):
    for _ in range(600):
        try:
            return urlopen(url, timeout=5).read()
        except OSError:
            time.sleep(0.2)
    raise TimeoutError(url)


def history(logger, name):
    found = logger.experiment.get_metric_history(logger.run_id, name)
    return [(metric.step, metric.value) for metric in found]


def test_records_and_hyperparameters_are_in_the_store_on_the_step_axis(uri, tmp_path):
    logger: lt_interfaces.Logger = logger_at(uri, tmp_path, run_name="first", tags={"team": "a"}, prefix="run")
    assert isinstance(logger, lt_interfaces.Logger)
    logger.log_hyperparams({"model": {"width": 8}, "api_key": "CANARY", "lr": 0.1})
    for step in range(0, 30, 10):
        logger.log_metrics({"loss": step / 10, "epoch": 0}, step)
    logger.finalize("success")
    assert history(logger, "run-loss") == [(0, 0.0), (10, 1.0), (20, 2.0)]
    run = run_of(logger)
    assert run.data.params == {"model/width": "8", "api_key": "***", "lr": "0.1"}
    assert (run.info.status, run.info.run_name, run.data.tags["team"]) == ("FINISHED", "first", "a")
    assert (logger.name, logger.version) == ("digits", run.info.run_id)
    assert logger.log_dir == str(tmp_path / "digits" / run.info.run_id)


def test_records_that_came_together_travel_together(uri, tmp_path):
    logger, requests = logger_at(uri, tmp_path), []
    client = logger.experiment
    logger._experiment = SimpleNamespace(
        log_batch=lambda run, metrics: requests.append(len(metrics)), set_terminated=lambda run, status: None
    )
    for step in range(600):
        logger.log_metrics({"a": 1.0, "b": 2.0}, step)
    logger.finalize("success")
    assert sum(requests) == 1200
    assert len(requests) < 100
    assert client.get_run(logger.run_id)


def test_a_run_is_continued_by_its_id_or_as_the_last_one(uri, tmp_path):
    first = logger_at(uri, tmp_path)
    first.log_hyperparams({"lr": 0.1, "epochs": 3})
    first.log_metrics({"loss": 1.0}, 1)
    first.finalize("failed")
    assert run_of(first).info.status == "FAILED"
    again = logger_at(uri, tmp_path, run_id="last")
    assert again.version == first.version
    again.log_hyperparams({"lr": 0.1, "epochs": 6, "new": True})
    again.log_metrics({"loss": 0.5}, 2)
    again.finalize("success")
    run = run_of(again)
    assert history(again, "loss") == [(1, 1.0), (2, 0.5)]
    assert run.data.params == {"lr": "0.1", "epochs": "3", "new": "True"}
    assert run.data.tags["changed/epochs"] == "6"
    assert run.info.status == "FINISHED"


def test_names_that_mlflow_refuses_are_changed_and_told(uri, tmp_path):
    logger = logger_at(uri, tmp_path)
    with pytest.warns(UserWarning, match="logged as 'acc_top5__'"):
        logger.log_metrics({"acc@top5\n\x1b": 1.0}, 0)
    logger.log_hyperparams({"a(b)": 1})
    logger.finalize("success")
    assert list(run_of(logger).data.metrics) == ["acc_top5__"]
    assert run_of(logger).data.params == {"a_b_": "1"}


@pytest.mark.parametrize("log_model", [True, "all"])
def test_a_checkpoint_is_uploaded_also_if_it_is_deleted_meanwhile(uri, tmp_path, log_model):
    path = tmp_path / "best.ckpt"
    path.write_text("weights")
    told = {"best_model_path": str(path), "last_model_path": "", "best_k_models": {str(path): 0.25}}
    logger = logger_at(uri, tmp_path, f"saved {log_model}", log_model=log_model)
    logger.after_save_checkpoint(SimpleNamespace(monitor="val_loss", mode="min", **told))
    if log_model == "all":
        os.remove(path)
    logger.finalize("success")
    folder = Path(run_of(logger).info.artifact_uri.removeprefix("file://")) / "best"
    assert (folder / "best.ckpt").read_text() == "weights"
    assert "score: 0.25" in (folder / "metadata.yaml").read_text()
    assert (folder / "aliases.txt").read_text() == "['latest', 'best']"
    assert not list(tmp_path.glob(".upload-*"))


def test_without_a_server_everything_is_in_the_folder(tmp_path):
    logger = MLFlowLogger(save_dir=tmp_path / "runs")
    logger.log_metrics({"loss": 1.0}, 1)
    logger.finalize("success")
    assert history(logger, "loss") == [(1, 1.0)]
    assert sorted(os.listdir(tmp_path / "runs"))[-1] == "mlflow.db"


def test_a_server_that_is_away_stops_nothing_and_the_records_are_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        logger = MLFlowLogger(tracking_uri=f"http://127.0.0.1:{free.getsockname()[1]}", save_dir=tmp_path)
        with pytest.warns(UserWarning, match="`MLFlowLogger` has no answer from its back-end"):
            assert isinstance(logger.experiment, DummyExperiment)
        logger.log_metrics({"loss": 1.0}, 1)
        with pytest.warns(UserWarning, match="could not deliver 3 records or calls"):
            logger.finalize("success")
    assert logger.version == logger.version
    assert '"metrics": {"loss": 1.0}' in (Path(logger.log_dir) / "undelivered.jsonl").read_text()


@pytest.mark.slow
def test_a_real_server_gets_it_all(tmp_path):
    if not any(found.name == "mlflow" for found in distributions()):
        pytest.skip("the server is in the package mlflow, of 200 MB; this is the client, mlflow-skinny")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{tmp_path / 'ml.db'}"]
    command += ["--artifacts-destination", str(tmp_path / "art"), "--port", str(port), "--workers", "1"]
    server = subprocess.Popen([*command, "--host", "127.0.0.1"], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=-3)
    try:
        answers(f"http://127.0.0.1:{port}/health")
        logger = MLFlowLogger("served", tracking_uri=f"http://127.0.0.1:{port}", save_dir=tmp_path / "here")
        logger.log_hyperparams({"lr": 0.1})
        logger.log_metrics({"loss": 1.0}, 1)
        logger.finalize("success")
        assert history(logger, "loss") == [(1, 1.0)]
        assert (run_of(logger).data.params, run_of(logger).info.status) == ({"lr": "0.1"}, "FINISHED")
    finally:
        server.terminate()
        server.wait(60)


def test_without_mlflow_the_command_that_installs_it_is_named():
    code = "import sys; sys.modules['mlflow'] = None\nfrom lt_loggers import MLFlowLogger\nMLFlowLogger()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert 'Run `pip install "lt-loggers[mlflow]"`' in done.stderr


def test_other_ranks_make_no_run(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    logger = MLFlowLogger(save_dir=tmp_path / "runs", log_model="all")
    logger.log_metrics({"a": 1})
    logger.finalize("success")
    assert (logger.version, logger.run_id) == (None, None)
    assert not (tmp_path / "runs").exists()
