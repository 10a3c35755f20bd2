"""A back-end that hangs, fails or is away costs no step, ends no run, and what it did not take is kept."""

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import warnings
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace

import lt as L
import pytest
import torch
from lt.demo import DigitClassifier, Digits
from lt.loggers import CSVLogger, Logger, RemoteLogger

STEPS = 40


class Model(L.LightningModule):
    def __init__(self, seen=None):
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)
        self.save_hyperparameters({"lr": 0.1, "api_key": "CANARY"})

    def training_step(self, batch, batch_idx):
        loss = self.layer(batch).square().mean()
        self.log("loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class BackEnd(RemoteLogger):
    """Writes into a list; waits for `gate`, and raises `error` where there is one."""

    def __init__(self, folder, error=None, gate=None):
        super().__init__(folder, "run", "v")
        self.error, self.gate, self.got = error, gate, []

    def _take(self, *what):
        if self.gate is not None:
            self.gate.wait()
        if self.error is not None:
            raise self.error
        self.got.append(what)

    def connect(self):
        self._take("connect")
        return self

    def send(self, experiment, records):
        self._take("send", *[record.step for record in records])

    def send_hyperparams(self, experiment, params):
        self._take("hyperparams", params)

    def end(self, experiment, status):
        self._take("end", status)

    def steps(self):
        return [step for what, *steps in self.got if what == "send" for step in steps]


class Counts(L.Callback):
    """Notes how many steps are done, and lets something happen after the last one."""

    def __init__(self, after_last=lambda: None):
        self.steps, self.after_last = 0, after_last

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.steps += 1
        if self.steps == STEPS:
            self.after_last()


def fit(folder, loggers, *callbacks, **others):
    torch.manual_seed(0)
    model, batches = Model(), [torch.ones(2, 4)] * (STEPS // 2)
    trainer = L.Trainer(
        accelerator="cpu", max_epochs=2, log_every_n_steps=1, logger=loggers, callbacks=list(callbacks),
        default_root_dir=folder, enable_progress_bar=False, enable_model_summary=False, **others,
    )  # fmt: skip
    trainer.fit(model, batches)
    return trainer, model


def lines(folder):
    return [json.loads(line) for line in Path(folder, "run/v/undelivered.jsonl").read_text().splitlines()]


def test_all_steps_complete_while_the_back_end_hangs_and_nothing_is_missing_after(tmp_path, monkeypatch):
    monkeypatch.setattr(BackEnd, "connect_seconds", 0.0)
    gate = threading.Event()
    logger, counts = BackEnd(tmp_path, gate=gate), Counts(after_last=gate.set)
    with pytest.warns(UserWarning, match="`BackEnd` still waits for its back-end"):
        fit(tmp_path, [logger], counts)
    assert counts.steps == STEPS
    assert logger.steps() == list(range(1, STEPS + 1))
    assert [what for what, *_ in logger.got][:2] == ["connect", "hyperparams"]
    assert logger.got[1] == ("hyperparams", {"lr": 0.1, "api_key": "***"})
    assert logger.got[-1] == ("end", "success")


def test_a_back_end_that_never_comes_back_ends_no_run_and_costs_no_record(tmp_path, monkeypatch):
    monkeypatch.setattr(BackEnd, "connect_seconds", 0.0)
    monkeypatch.setattr(BackEnd, "finish_seconds", 0.01)
    gate = threading.Event()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        trainer, _ = fit(tmp_path, [CSVLogger(tmp_path), BackEnd(tmp_path, gate=gate)])
    gate.set()
    assert trainer.global_step == STEPS
    assert [record["step"] for record in lines(tmp_path) if "step" in record] == list(range(1, STEPS + 1))
    about = [str(warning.message) for warning in said if "BackEnd" in str(warning.message)]
    assert len(about) == 2
    assert f"could not deliver {STEPS + 3} records or calls" in about[1]


@pytest.mark.parametrize("error", [ConnectionError("nobody there"), ValueError("no")], ids=["away", "failing"])
def test_a_back_end_that_fails_is_reported_once_and_counted_at_the_end(tmp_path, error):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        trainer, _ = fit(tmp_path, [BackEnd(tmp_path, error)])
    assert trainer.global_step == STEPS
    assert [record["step"] for record in lines(tmp_path) if "step" in record] == list(range(1, STEPS + 1))
    about = [str(warning.message) for warning in said if "BackEnd" in str(warning.message)]
    assert [f"{type(error).__name__}: {error}" in about[0], "could not deliver" in about[1], len(about)] == [
        True,
        True,
        2,
    ]


def test_weights_are_the_same_whatever_becomes_of_the_back_end(tmp_path):
    _, without = fit(tmp_path, False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _, failing = fit(tmp_path, [BackEnd(tmp_path, ConnectionError("nobody there"))])
    _, working = fit(tmp_path, [BackEnd(tmp_path)])
    assert torch.equal(without.layer.weight, failing.layer.weight)
    assert torch.equal(without.layer.weight, working.layer.weight)


def test_a_slow_back_end_gets_few_calls_with_many_records(tmp_path):
    begun = threading.Event()
    logger, counts = BackEnd(tmp_path, gate=begun), Counts(after_last=begun.set)
    logger.connect_seconds = 0.0
    with pytest.warns(UserWarning, match="still waits"):
        fit(tmp_path, [logger], counts, enable_checkpointing=False)
    assert len([what for what, *_ in logger.got if what == "send"]) <= 4


def test_a_file_beside_it_has_every_record(tmp_path):
    table = CSVLogger(tmp_path, name="run", version="v")
    with pytest.warns(UserWarning, match="BackEnd"):
        fit(tmp_path, [table, BackEnd(tmp_path, OSError("away"))])
    rows = Path(table.log_dir, "metrics.csv").read_text().splitlines()
    assert len(rows) == STEPS + 1


def test_workers_of_a_loader_that_are_forked_leave_the_writer_alone(tmp_path):
    logger = BackEnd(tmp_path)
    assert logger.experiment is logger  # the thread runs before the workers are forked
    loader = torch.utils.data.DataLoader([torch.ones(4)] * STEPS, 2, num_workers=1, multiprocessing_context="fork")
    trainer = L.Trainer(
        accelerator="cpu", max_epochs=1, log_every_n_steps=1, logger=logger, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(Model(), loader)
    assert logger.steps() == list(range(1, STEPS // 2 + 1))


PROGRAM = """
import threading, sys
sys.path.insert(0, {here!r})
from test_slow_back_ends import *

class Hangs(BackEnd):
    connect_seconds, finish_seconds = 0.0, 0.05

class Ready(L.Callback):
    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.global_step == 3:
            print("ready", flush=True)

warnings.simplefilter("ignore")
logger = Hangs({folder!r}, gate=threading.Event())
trainer = L.Trainer(accelerator="cpu", max_epochs=-1, log_every_n_steps=1, logger=logger,
    callbacks=[Ready()], default_root_dir={folder!r}, enable_progress_bar=False, enable_model_summary=False)
trainer.fit(Model(), [torch.ones(2, 4)] * 20)
"""


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_program_though_the_back_end_hangs(tmp_path, sent):
    code = textwrap.dedent(PROGRAM).format(here=str(Path(__file__).parent), folder=str(tmp_path))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    program = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment)
    assert program.stdout.readline() == "ready\n"
    program.send_signal(sent)
    program.communicate(timeout=60)
    assert program.returncode not in (0, None)
    assert [record["step"] for record in lines(tmp_path) if "step" in record][:3] == [1, 2, 3]


class Series(list):
    def append(self, value, step, timestamp):
        super().append((step, value))


def test_the_logger_of_the_docs_writes_what_neptune_would_get(tmp_path, monkeypatch):
    page = (Path(__file__).parent.parent / "docs/pages/logging.md").read_text()
    code = next(block for block in re.findall(r"```python\n(.*?)```", page, re.S) if "class NeptuneLogger" in block)
    asked, run, defined = [], defaultdict(Series), {}
    neptune = SimpleNamespace(init_run=lambda **told: asked.append(told) or run)
    monkeypatch.setitem(sys.modules, "neptune", neptune)
    exec(code, defined)
    logger = defined["NeptuneLogger"]("me/digits", mode="offline", save_dir=tmp_path)
    fit(tmp_path, [logger])
    assert asked == [{"project": "me/digits", "mode": "offline", "custom_run_id": logger.version}]
    assert [step for step, _ in run["loss"]] == list(range(1, STEPS + 1))
    assert run["hyperparameters"] == {"lr": 0.1, "api_key": "***"}
    assert run["status"] == "success"


@pytest.mark.parametrize(
    ("name", "kind"), [("wandb", "WandbLogger"), ("mlflow", "MLFlowLogger"), ("comet", "CometLogger")]
)
def test_loggers_to_servers_have_names_and_naming_one_opens_nothing(tmp_path, name, kind):
    threads = threading.active_count()
    trainer = L.Trainer(accelerator="cpu", logger=name, default_root_dir=tmp_path / "runs", enable_progress_bar=False)
    assert type(trainer.logger).__name__ == kind
    assert trainer.logger.save_dir == str(tmp_path / "runs")
    assert (threading.active_count(), (tmp_path / "runs").exists()) == (threads, False)


def test_a_logger_that_lt_has_not_says_what_to_do():
    with pytest.raises(ImportError, match=r"Derive one from `lt\.loggers\.RemoteLogger`"):
        from lt.loggers import NeptuneLogger  # noqa: F401


class Broken(Logger):
    """Somebody else's, whose every call fails once training has begun."""

    name, version = "broken", 0

    def log_hyperparams(self, params, metrics=None):
        pass

    def log_metrics(self, metrics, step=None):
        raise ConnectionError("nobody there")

    save = finalize = after_save_checkpoint = log_metrics


def test_somebody_elses_logger_that_fails_is_told_of_once_and_ends_nothing(tmp_path):
    trainer = L.Trainer(max_epochs=2, accelerator="cpu", logger=Broken(), default_root_dir=tmp_path,
                        enable_progress_bar=False, enable_model_summary=False)  # fmt: skip
    with pytest.warns(UserWarning, match=r"`Broken.log_metrics` failed.*nobody there") as told:
        trainer.fit(DigitClassifier(width=2), datamodule=Digits())
    assert len(told) == 1
    assert trainer.state.status == "finished"
