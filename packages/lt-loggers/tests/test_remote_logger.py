import json
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import lt_interfaces
import pytest
from lt_loggers import CSVLogger, DummyExperiment, RemoteLogger


class Server:
    def __init__(self):
        self.received, self.open = [], threading.Event()
        self.open.set()


class Example(RemoteLogger):
    """Talks to an object of this process; `failing` names the methods that raise."""

    finish_seconds = connect_seconds = 30.0

    def __init__(self, *args, failing=(), error=ValueError, **kwargs):
        super().__init__(*args, **kwargs)
        self.server, self.failing, self.error = Server(), failing, error

    def _act(self, what, *values):
        self.server.open.wait(60)
        if what in self.failing:
            raise self.error(f"{what} failed at https://user:hunter2@host/")
        self.server.received.append((what, *values))

    def connect(self):
        self._act("connect")
        return self.server

    def send(self, experiment, records):
        self._act("send", *[(record.step, record.metrics) for record in records])

    def send_hyperparams(self, experiment, params):
        self._act("hyperparams", params)

    def end(self, experiment, status):
        self._act("end", status)


def log_a_run(logger):
    logger.log_hyperparams({"lr": 0.1})
    logger.log_metrics({"a": 1}, 0)
    logger.finalize("success")


def kept(logger):
    with open(Path(logger.log_dir) / "undelivered.jsonl") as file:
        return [json.loads(line) for line in file]


def test_everything_arrives_in_its_order_records_together(tmp_path):
    logger: lt_interfaces.Logger = Example(tmp_path, prefix="run")
    assert isinstance(logger, lt_interfaces.Logger)
    logger.log_hyperparams({"model": {"width": 8}, "api_key": "CANARY"})
    logger.log_metrics({"loss": 1.0, "val": {"a": 2}}, 4)
    logger.log_metrics({"loss\x1b[2J": 0.5})
    logger.finalize("success")
    assert logger.server.received == [
        ("connect",),
        ("hyperparams", {"model": {"width": 8}, "api_key": "***"}),
        ("send", (4, {"run-loss": 1.0, "run-val/a": 2}), (5, {"run-loss\\x1b[2J": 0.5})),
        ("end", "success"),
    ]
    assert os.listdir(tmp_path) == []


def test_making_a_logger_starts_nothing_and_a_run_without_records_connects_to_nothing(tmp_path):
    threads = threading.active_count()
    logger = Example(tmp_path)
    logger.save()
    logger.finalize("success")
    assert threading.active_count() == threads
    assert logger.server.received == []


def test_values_are_read_when_they_are_logged(tmp_path):
    logger, metrics = Example(tmp_path), {"loss": 1.0}
    logger.log_metrics(metrics, 0)
    metrics["loss"] = 2.0
    logger.finalize("success")
    assert logger.server.received[1] == ("send", (0, {"loss": 1.0}))


def test_logging_goes_on_after_the_end(tmp_path):
    logger = Example(tmp_path)
    for step in range(2):
        logger.log_metrics({"loss": 1.0}, step)
        logger.finalize("success")
    assert [what for what, *_ in logger.server.received] == ["connect", "send", "end", "send", "end"]


def test_the_experiment_is_the_back_end_s_own_object(tmp_path):
    logger = Example(tmp_path)
    assert logger.experiment is logger.server
    assert logger.experiment is logger.server
    assert logger.server.received == [("connect",)]
    logger.finalize("success")


def test_a_back_end_that_cannot_be_opened_stops_nothing_and_is_reported_once(tmp_path):
    logger = Example(tmp_path, version="v1", failing=["connect"])
    with pytest.warns(UserWarning, match="has no answer .* ValueError: connect failed at https://[*]") as first:
        assert isinstance(logger.experiment, DummyExperiment)
    assert len(first) == 1
    logger.log_metrics({"loss": 1.0}, 3)
    logger.log_hyperparams({"lr": 0.1})
    logger.save()
    with pytest.warns(UserWarning, match=r"could not deliver 4 records or calls. They are in .*v1/undelivered.jsonl"):
        logger.finalize("success")
    record, params, end = kept(logger)
    assert (record["step"], record["metrics"]) == (3, {"loss": 1.0})
    assert params == {"hyperparameters": {"lr": 0.1}}
    assert end == {"call": "finalize"}


def test_a_back_end_that_hangs_while_it_is_opened_is_waited_for_once(tmp_path, monkeypatch):
    monkeypatch.setattr(Example, "connect_seconds", 0.05)
    logger = Example(tmp_path)
    logger.server.open.clear()
    with pytest.warns(UserWarning, match="`Example` still waits for its back-end"):
        assert isinstance(logger.experiment, DummyExperiment)
    monkeypatch.setattr(Example, "connect_seconds", 600.0)
    assert isinstance(logger.experiment, DummyExperiment)
    logger.server.open.set()
    logger.log_metrics({"a": 1}, 0)
    logger.finalize("success")
    assert logger.experiment is logger.server


def test_what_is_refused_is_kept_and_the_rest_arrives(tmp_path):
    logger = Example(tmp_path, failing=["hyperparams"])
    with pytest.warns(UserWarning, match="could not") as warned:
        log_a_run(logger)
    assert "could not send something: ValueError: hyperparams failed" in str(warned[0].message)
    assert "could not deliver 1 records" in str(warned[1].message)
    assert "hunter2" not in str(warned[0].message)
    assert logger.server.received == [("connect",), ("send", (0, {"a": 1})), ("end", "success")]
    assert kept(logger) == [{"hyperparameters": {"lr": 0.1}}]


def test_a_version_is_chosen_once_and_names_the_folder(tmp_path):
    logger = Example(tmp_path, name="digits")
    assert logger.version == logger.version
    assert logger.log_dir == str(tmp_path / "digits" / logger.version)
    table = CSVLogger(tmp_path).beside(logger)
    assert table.log_dir == logger.log_dir


def test_a_copy_for_another_process_connects_anew(tmp_path):
    logger = CopiedExample(tmp_path)
    version = logger.version
    logger.log_metrics({"a": 1}, 0)
    logger.finalize("success")
    copy = pickle.loads(pickle.dumps(logger))
    assert copy.version == version
    copy.log_metrics({"a": 2}, 1)
    copy.finalize("success")
    assert Path(tmp_path / "sent").read_text().split() == ["0", "1"]


class CopiedExample(Example):
    def __init__(self, folder):
        super().__init__(folder)
        self.server = None

    def connect(self):
        return Path(self.save_dir) / "sent"

    def send(self, experiment, records):
        with open(experiment, "a") as file:
            file.writelines(f"{record.step}\n" for record in records)

    def end(self, experiment, status):
        pass


def test_calls_that_may_hold_much_are_few_at_a_time(tmp_path):
    logger = Example(tmp_path)
    logger.server.open.clear()
    number = 0
    while not Path(logger.log_dir, "undelivered.jsonl").exists():
        logger.hand_over(f"image {number}", lambda server: server.received.append("image"))
        number += 1
    logger.server.open.set()
    with pytest.warns(UserWarning, match="could not deliver"):
        logger.finalize("success")
    assert [line["call"] for line in kept(logger)] == [f"image {number - 1}"]
    assert 200 <= logger.server.received.count("image") == number - 1 <= 200 + logger.batch_size


def test_other_ranks_start_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    logger = Example(tmp_path)
    logger.log_metrics({"a": 1})
    logger.log_hyperparams({"lr": 1})
    assert isinstance(logger.experiment, DummyExperiment)
    logger.save()
    logger.finalize("success")
    assert (logger.version, logger.server.received) == (None, [])


def test_importing_starts_no_thread_and_imports_no_back_end():
    code = "import sys, threading, lt_loggers; print(threading.active_count(), "
    code += "[name for name in ('torch', 'wandb', 'mlflow', 'comet_ml') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "1 []\n"
