import io
import os
import pty
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest
from lt_callbacks import (
    LineProgressBar,
    ProgressBar,
    RichProgressBar,
    RichProgressBarTheme,
    TQDMProgressBar,
    default_progress_bar,
)
from lt_callbacks.line_progress_bar import rate_text, time_text


def lines_of(trainer_of, interval, **settings):
    stream = io.StringIO()
    trainer = trainer_of(LineProgressBar(interval, stream), progress_bar_metrics={"loss": 0.5}, **settings).fit()
    trainer.call("teardown", "fit")
    return stream.getvalue().splitlines()


def test_a_short_run_writes_a_single_line_for_its_end(trainer_of):
    lines = lines_of(trainer_of, 60.0, max_epochs=2)
    assert len(lines) == 2
    assert re.fullmatch(r"epoch 2/2  done, 10 batches in 0:00  \d+ batches/s  loss=0.5", lines[-1])


def test_a_line_tells_where_the_run_stands(trainer_of):
    lines = lines_of(trainer_of, 1e-9)
    assert re.fullmatch(r"epoch 1/1  batch 3/10  30%  \d+ batches/s  ETA 0:00  loss=0.5", lines[2])
    assert "\r" not in "".join(lines)
    assert "\x1b" not in "".join(lines)


def test_an_unknown_length_is_only_counted(trainer_of):
    stream = io.StringIO()
    trainer = trainer_of(LineProgressBar(1e-9, stream), max_epochs=-1, num_training_batches=float("inf"))
    trainer.call("on_train_epoch_start")
    trainer.call("on_train_batch_end", None, None, 0)
    assert re.fullmatch(r"epoch 1  batch 1  \d+ batches/s\n", stream.getvalue())


def test_a_validation_within_an_epoch_has_its_line(trainer_of):
    lines = lines_of(trainer_of, 1e-9, val_check_interval=5)
    ends = [line for line in lines if "done" in line]
    assert [line.split("  done")[0] for line in ends] == ["epoch 1/1  validation", "epoch 1/1"]


@pytest.mark.parametrize(("rate", "text"), [(1520.4, "1520 batches/s"), (2.34, "2.3 batches/s"), (0.25, "4.0 s/batch")])
def test_rates_read_well(rate, text):
    assert rate_text(rate) == text


@pytest.mark.parametrize(("seconds", "text"), [(7, "0:07"), (3599.6, "1:00:00"), (12345, "3:25:45")])
def test_times_read_well(seconds, text):
    assert time_text(seconds) == text


class Reads(ProgressBar):
    refresh_seconds = 1e-9

    def get_metrics(self, trainer, pl_module):
        self.read.append(trainer.global_step)
        return super().get_metrics(trainer, pl_module)


def test_metrics_are_read_only_where_they_are_logged_and_at_ends(trainer_of):
    bar = Reads()
    bar.read = []
    trainer_of(bar, log_every_n_steps=4, num_training_batches=10).fit()
    assert bar.read == [4, 8, 10, 10]


def test_the_version_of_the_logger_is_shown(trainer_of):
    bar = ProgressBar()
    trainer = trainer_of(bar, loggers=[SimpleNamespace(version="run-abcd")], progress_bar_metrics={"a": 1.0})
    assert bar.get_metrics(trainer, None) == {"v_num": "abcd", "a": 1.0}


def test_only_rank_zero_shows_progress(trainer_of, capsys):
    bar = TQDMProgressBar()
    trainer_of(bar, is_global_zero=False).fit()
    assert not bar.is_enabled
    assert capsys.readouterr().err == ""


def test_a_rate_of_zero_shows_nothing(trainer_of, capsys):
    trainer_of(TQDMProgressBar(refresh_rate=0), RichProgressBar(refresh_rate=0)).fit()
    assert capsys.readouterr().err == ""


def test_files_get_lines_and_terminals_a_bar(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    leader, follower = pty.openpty()
    with os.fdopen(follower, "w") as terminal:
        assert isinstance(default_progress_bar(terminal), TQDMProgressBar)
        monkeypatch.setenv("TERM", "dumb")
        assert isinstance(default_progress_bar(terminal), LineProgressBar)
    os.close(leader)
    assert isinstance(default_progress_bar(io.StringIO()), LineProgressBar)


def test_the_environment_can_slow_the_bar(monkeypatch):
    monkeypatch.setenv("TQDM_MINITERS", "50")
    assert TQDMProgressBar().refresh_rate == 50


def test_a_bar_that_resumes_starts_where_the_run_stands(trainer_of):
    bar = TQDMProgressBar()
    bar.stream = io.StringIO()
    trainer = trainer_of(bar, progress=SimpleNamespace(batch=6)).setup()
    trainer.call("on_train_start")
    assert "60%" in bar.stream.getvalue()
    trainer.call("on_exception", RuntimeError())
    assert bar.train_progress_bar is None


def test_the_bar_of_each_stage_can_be_had_while_it_is_shown(trainer_of):
    bar = TQDMProgressBar()
    bar.stream, seen = io.StringIO(), []
    names = ("train_progress_bar", "val_progress_bar", "test_progress_bar", "predict_progress_bar")
    trainer = trainer_of(bar, num_val_batches=[2], num_test_batches=[2], num_predict_batches=[2]).setup()
    for stage in ("validation", "test", "predict"):
        trainer.call(f"on_{stage}_start")
        seen.append([getattr(bar, name) is not None for name in names])
        trainer.call(f"on_{stage}_end")
    assert seen == [[False, *(i == stage for i in range(3))] for stage in range(3)]
    assert bar.is_disabled is not bar.is_enabled is True


def test_the_theme_and_the_columns_of_the_rich_bar_can_be_changed(trainer_of):
    rich = pytest.importorskip("rich.progress")

    class Own(RichProgressBar):
        def configure_columns(self, trainer):
            assert trainer is self.trainer
            return [rich.TextColumn("<{task.description}>"), *super().configure_columns(trainer)]

    theme = RichProgressBarTheme(metrics_format=".2e", metrics_text_delimiter=" | ", description="bold red")
    stream = io.StringIO()
    bar = Own(theme=theme, console_kwargs={"file": stream, "force_terminal": True, "width": 150, "stderr": False,
                                           "no_color": False})  # fmt: skip
    trainer_of(bar, progress_bar_metrics={"loss": 0.5, "acc": 0.25}).fit()
    shown = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", stream.getvalue())
    assert "<Epoch 1/1>" in shown
    assert "loss: 5.00e-01 | acc: 2.50e-01" in shown
    assert "\x1b[1;31m" in stream.getvalue()


RUN = """
import sys, time
sys.path.insert(0, {tests!r})
from conftest import PlainTrainer
from lt_callbacks import {bar}
bar = {bar}()
trainer = PlainTrainer(".", [bar], max_epochs=2, num_training_batches=40, val_check_interval=20, num_val_batches=[1])
trainer.progress_bar_metrics = {{"train_loss": 0.25}}
score = trainer.score
def slow(step):
    time.sleep(0.004)
    bar.print(f"scored at {{step}}")
    return score(step)
trainer.score = slow
trainer.fit()
trainer.call("teardown", "fit")
"""


def screen(text, columns=100):
    """The lines that a terminal shows in the end."""
    rows, y, x = [""], 0, 0
    for token in re.findall(r"\x1b\[\??\d*[A-Za-z]|.|\n|\r", text):
        if token == "\n":
            y, x = y + 1, 0
            rows += [""] * (y + 1 - len(rows))
        elif token == "\r":
            x = 0
        elif token.startswith("\x1b["):
            y -= int(token[2:-1] or 1) if token.endswith("A") else 0
            if token.endswith("K"):
                rows[y] = ""
        else:
            rows[y] = rows[y][:x].ljust(x) + token + rows[y][x + 1 :]
            x += 1
    return [row.rstrip() for row in rows if row.strip()]


@pytest.mark.parametrize("bar", ["TQDMProgressBar", "RichProgressBar"])
def test_a_terminal_shows_the_printed_lines_and_one_bar_below(bar):
    leader, follower = pty.openpty()
    script = RUN.format(tests=os.path.dirname(__file__), bar=bar)
    quiet = {"PYTHONWARNINGS": "ignore:Failed to initialize NumPy"}  # torch's word, where numpy is not installed
    environment = {**os.environ, "COLUMNS": "100", "TERM": "xterm", **quiet}
    process = subprocess.Popen([sys.executable, "-c", script], stdout=follower, stderr=follower, env=environment)
    os.close(follower)
    text = b""
    while chunk := read(leader):
        text += chunk
    os.close(leader)
    assert process.wait() == 0, text.decode()
    shown = screen(text.decode())
    assert shown[:4] == [f"scored at {step}" for step in (20, 40, 60, 80)]
    assert len(shown) == 5
    assert re.search(r"Epoch 2/2.*40/40.*train_loss[=:] ?0.25", shown[4])


def read(descriptor):
    try:
        return os.read(descriptor, 65536)
    except OSError:  # how Linux reports that the other end was closed
        return b""


@pytest.mark.parametrize("bar", [TQDMProgressBar, RichProgressBar])
def test_a_bar_writes_lines_where_it_cannot_be_drawn(trainer_of, capsys, bar):
    trainer_of(bar(), max_epochs=2, progress_bar_metrics={"loss": 0.5}).fit().call("teardown", "fit")
    said = capsys.readouterr().err
    assert re.search(r"^epoch 2/2  done, 10 batches in 0:00  \d+ batches/s  loss=0.5$", said, re.MULTILINE)
    assert len(said.splitlines()) <= 3
    assert not re.search(r"[\r\x1b]", said)


def test_a_bar_knows_when_the_loader_changes():
    bar = ProgressBar()
    assert [bar.has_dataloader_changed(i) for i in (0, 0, 1, 1, 0)] == [True, False, True, False, True]
    bar.reset_dataloader_idx_tracker()
    assert bar.has_dataloader_changed(0)
