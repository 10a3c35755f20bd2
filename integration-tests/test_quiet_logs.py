"""What a run says: in a file and a pipe plain lines, few of them; on a terminal one bar; when told so, nothing."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from programs import python
from terminal import on_terminal

PROGRAM = """
import sys

import lt
import torch
from lt.callbacks import LineProgressBar, RichProgressBar, TQDMProgressBar
from lt.demo import DigitClassifier, Digits

lt.seed_everything(1)
trainer = lt.Trainer(accelerator="cpu", **eval(sys.argv[1]))
trainer.fit(DigitClassifier(width=4), datamodule=Digits())
"""
CONTROL = re.compile(rb"[^\n\x20-\x7e]")
THOUSAND = "dict(max_steps=1000, max_epochs=-1)"
THREE_EPOCHS = "max_epochs=3"
SILENT = "dict(max_epochs=2, enable_progress_bar=False, enable_model_summary=False)"


@pytest.fixture(scope="module")
def in_a_file(tmp_path_factory) -> bytes:
    """What 1,000 steps in 25 epochs with validation leave in the file that they write to."""
    folder = tmp_path_factory.mktemp("file")
    with open(folder / "said.txt", "wb") as said:
        command = [sys.executable, "-c", PROGRAM, THOUSAND]
        subprocess.run(command, cwd=folder, stdout=said, stderr=subprocess.STDOUT, check=True, timeout=300)
    return (folder / "said.txt").read_bytes()


def shown(options: str, cwd: Path, **environment: str):
    done = on_terminal(sys.executable, "-c", PROGRAM, options, cwd=cwd, **environment)
    assert done.status == 0, done.screen
    return done


def bars(screen: str) -> list[str]:
    return [line for line in screen.splitlines() if re.match(r"(Epoch \d|Validation|Sanity)", line)]


def test_a_thousand_steps_in_a_file_are_a_page_of_plain_text(in_a_file):
    lines = in_a_file.decode().splitlines()
    assert not CONTROL.search(in_a_file)
    assert len(lines) <= 40
    assert len(in_a_file) <= 4000
    assert max(map(len, lines)) <= 200


def test_each_line_of_the_file_says_something_a_reader_wants(in_a_file):
    text = in_a_file.decode()
    assert "Warning" not in text
    assert not re.search(r"tip:|https?://|💡|GPU available|TPU|HPU", text, re.IGNORECASE)
    assert len(set(text.splitlines())) == len(text.splitlines()) - 1  # two rules around the table of the model


def test_a_line_of_the_file_tells_rate_and_metrics(in_a_file):
    pattern = (
        r"^epoch \d+  done, 40 batches in [\d:]+  [\d.]+ batches/s  v_num=0  train_loss=\S+  val_loss=\S+  val_acc=\S+$"
    )
    assert re.search(pattern, in_a_file.decode(), re.MULTILINE)


def test_a_pipe_gets_what_a_file_gets(in_a_file, tmp_path):
    done = python("-c", PROGRAM, THOUSAND, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    said = done.stderr + done.stdout
    assert not CONTROL.search(said.encode())
    assert abs(len(said.splitlines()) - len(in_a_file.splitlines())) <= 3


def test_a_line_comes_when_its_time_has_come(tmp_path):
    done = python("-c", PROGRAM, "dict(max_epochs=3, callbacks=[LineProgressBar(1e-9)])", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = re.findall(r"^epoch 2/3  batch (\d+)/40 +(\d+)%  [\d.]+ batches/s  ETA [\d:]+", done.stderr, re.MULTILINE)
    assert [int(batch) for batch, _ in lines] == list(range(1, 41))
    assert not CONTROL.search(done.stderr.encode())


@pytest.mark.parametrize("bar", ["TQDMProgressBar(refresh_rate=1)", "RichProgressBar(refresh_rate=1000)"])
def test_a_bar_that_was_asked_for_writes_lines_where_it_cannot_be_drawn(tmp_path, bar):
    done = python("-c", PROGRAM, f"dict({THREE_EPOCHS}, callbacks=[{bar}])", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert not CONTROL.search((done.stderr + done.stdout).encode())
    assert re.search(r"^epoch 3/3  done, 40 batches .*val_acc=", done.stderr, re.MULTILINE)
    assert len(done.stderr.splitlines()) <= 8


@pytest.mark.parametrize("bar", ["", "callbacks=[RichProgressBar(refresh_rate=1000)], "])
def test_on_a_terminal_one_bar_moves(tmp_path, bar):
    done = shown(f"dict({bar}{THREE_EPOCHS})", tmp_path)
    seen = [bars(screen) for screen in done.screens]
    assert max(map(len, seen)) <= 2  # the second while validating
    assert len({line for lines in seen for line in lines}) > 5
    [last] = bars(done.screen)
    assert re.match(r"Epoch 3/3:? .*40/40", last)
    assert "it/s" in last
    assert "val_acc" in last
    assert re.search(r"^Trained 120 steps to epoch 3 ", done.screen, re.MULTILINE)


def test_the_bar_is_drawn_by_time_and_not_by_batch(tmp_path):
    done = shown(THOUSAND, tmp_path)
    drawn = done.said.count(b"\r")
    taken = re.search(r"Trained 1000 steps to epoch 25 in ([\d.]+) s", done.screen)
    assert taken is not None
    assert drawn <= 12 * 2 * float(taken[1]) + 16 * 25  # some at the ends of each epoch and each validation


def test_a_narrow_terminal_keeps_the_bar_on_one_line(tmp_path):
    done = on_terminal(sys.executable, "-c", PROGRAM, f"dict({THREE_EPOCHS})", cwd=tmp_path, columns=60)
    assert done.status == 0, done.screen
    assert len(bars(done.screen)) == 1
    assert max(len(bars(screen)) for screen in done.screens) <= 2


def test_a_terminal_that_knows_no_cursor_gets_lines(tmp_path):
    done = shown(f"dict({THREE_EPOCHS})", tmp_path, TERM="dumb")
    assert not CONTROL.search(done.said.replace(b"\r\n", b"\n"))
    assert re.search(r"^epoch 3/3  done, 40 batches", done.screen, re.MULTILINE)


@pytest.mark.parametrize("place", ["pipe", "terminal"])
def test_silence_is_one_switch_and_a_summary_another(tmp_path, place):
    if place == "pipe":
        done = python("-c", PROGRAM.replace("lt.seed_everything(1)", ""), SILENT, cwd=tmp_path)
        said = done.stdout + done.stderr
    else:
        said = on_terminal(
            sys.executable, "-c", PROGRAM.replace("lt.seed_everything(1)", ""), SILENT, cwd=tmp_path
        ).said.decode()
    assert said == ""
    assert (tmp_path / "lightning_logs" / "version_0" / "report.html").exists()


def test_an_interrupted_run_leaves_the_cursor_below_its_bar(tmp_path):
    program = PROGRAM.replace("trainer.fit", "DigitClassifier.on_train_batch_end = fail\ntrainer.fit").replace(
        "lt.seed",
        "def fail(self, *_):\n    if self.global_step == 60:\n        raise ValueError('it is raining')\n\n\nlt.seed",
    )
    done = on_terminal(sys.executable, "-c", program, f"dict({THREE_EPOCHS})", cwd=tmp_path)
    assert done.status == 1
    lines = done.screen.splitlines()
    assert lines[-1] == "ValueError: it is raining"
    assert lines.index("Traceback (most recent call last):") > lines.index(bars(done.screen)[0])


def test_each_rank_but_the_first_is_silent(tmp_path):
    options = "dict(max_epochs=1, devices=2, strategy='ddp')"
    (tmp_path / "two.py").write_text(PROGRAM)
    done = python("two.py", options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    assert said.count("Trained 20 steps") == 1
    assert said.count("done, 20 batches") == 1
    assert said.count("Trainable params") == 1
    assert not CONTROL.search(said.encode())
