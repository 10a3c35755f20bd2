"""Config files of the command line, in real processes: what they replay, what they cannot do, and exit statuses."""

import json
import shlex
import signal
import subprocess
import sys
import time
from argparse import ArgumentParser
from pathlib import Path

import lt as L
import lt_checkpoint
import lt_cli
import pytest
import torch
from programs import lt_cli as program
from programs import python

NET = '''
import torch
from lt.demo import DigitClassifier
from torch import nn


class Head(nn.Module):
    def __init__(self, inner: nn.Module | None = None, scale: float = 1.0) -> None:
        super().__init__()
        self.inner, self.scale = inner, scale

    def forward(self, logits):
        return self.scale * (self.inner(logits) if self.inner else logits)


class Net(DigitClassifier):
    """The demo with a head that a file can choose."""

    def __init__(self, width: int = 4, head: Head | None = None, fail: bool = False) -> None:
        super().__init__(width)
        self.head, self.fail = head or Head(), fail

    def forward(self, images):
        return self.head(super().forward(images))

    def on_train_start(self):
        if self.fail:
            raise ValueError("this run fails")

    def configure_callbacks(self):
        return []
'''
BASE = """
seed_everything: 3
trainer:
  max_epochs: 1
  limit_train_batches: 3
  limit_val_batches: 1
  accelerator: cpu
  logger: csv
  enable_progress_bar: false
  enable_model_summary: false
  callbacks:
  - class_path: ModelCheckpoint
    init_args: {save_last: true}
  - LearningRateMonitor
model:
  width: 2
  head: {class_path: net.Head, init_args: {scale: 0.5, inner: {class_path: net.Head, init_args: {scale: 3.0}}}}
"""
OVER = "[model]\nwidth = 3\n[data]\nbatch_size = 16\n"
QUIET = ("--enable_progress_bar=false", "--enable_model_summary=false", "--accelerator=cpu")


@pytest.fixture
def project(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.delitem(sys.modules, "net", raising=False)
    (tmp_path / "first").mkdir()
    (tmp_path / "elsewhere").mkdir()
    for folder in tmp_path.iterdir():
        (folder / "net.py").write_text(NET)
    (tmp_path / "first/base.yaml").write_text(BASE)
    (tmp_path / "first/over.toml").write_text(OVER)
    return tmp_path


def trained(folder: Path) -> dict[str, object]:
    """The last checkpoint of the only run in a folder."""
    [path] = folder.glob("lightning_logs/version_0/checkpoints/last.ckpt")
    return lt_checkpoint.load(path)


@pytest.mark.slow
def test_a_run_is_the_same_elsewhere_out_of_its_folder_or_its_checkpoint(project):
    options = ("--config", "base.yaml", "--config", "over.toml", "--optimizer=SGD", "--optimizer.lr=0.3")
    done = program("fit", "--model=net.py:Net", *options, "--model.head.inner.scale=2", cwd=project / "first")
    assert done.returncode == 0, done.stderr
    first = trained(project / "first")
    elsewhere = project / "elsewhere"
    saved = (project / "first/lightning_logs/version_0/config.yaml").read_text()
    assert saved.startswith(f"# lt=={lt_cli.__version__}\n")
    for name, text in (("saved.yaml", saved), ("kept.json", json.dumps(first["lt"]["config"]))):
        (elsewhere / name).write_text(text)
        done = program("fit", "--model=net.py:Net", "--config", name, cwd=elsewhere)
        assert done.returncode == 0, done.stderr
        again = trained(elsewhere)
        assert again["lt"]["config"] == first["lt"]["config"]
        assert all(torch.equal(value, again["state_dict"][key]) for key, value in first["state_dict"].items())
        (elsewhere / "lightning_logs/version_0").rename(elsewhere / f"done_{name}")
    model = first["lt"]["config"]["model"]["init_args"]
    assert (model["width"], model["head"]["init_args"]["inner"]["init_args"]["scale"]) == (3, 2.0)


def test_files_environment_and_options_win_in_this_order(project):
    words = ("config", "--model=net.py:Net", "--config=base.yaml", "--max_steps=8")
    environment = {"LT_TRAINER_MAX_EPOCHS": "5", "LT_TRAINER_MIN_EPOCHS": "4", "PL_TRAINER_MAX_STEPS": "6"}
    printed = program(*words, cwd=project / "first", **environment).stdout.splitlines()
    assert {"  max_epochs: 1", "  min_epochs: 4", "  max_steps: 8"} <= {*printed}


def test_a_plain_parser_has_the_environment_for_defaults_too(monkeypatch):
    monkeypatch.setenv("PL_TRAINER_MAX_EPOCHS", "5")
    monkeypatch.setenv("LT_TRAINER_LIMIT_VAL_BATCHES", "0.5")
    parser = L.Trainer.add_argparse_args(ArgumentParser())
    trainer = L.Trainer.from_argparse_args(parser.parse_args(["--limit_val_batches", "2"]), logger=False)
    assert (trainer.max_epochs, trainer.limit_val_batches) == (5, 2)
    assert parser.parse_args(["--check_val_every_n_epoch", "none"]).check_val_every_n_epoch is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model: {head: {class_path: net.Head, init_args: {scale: much}}}", "`--model.head.scale` takes float"),
        ("model:\n  head:\n    class_path: net.Head\n    init_args:\n      scal: 1", "yaml:5). Did you mean `scale`?"),
        ("# lt==0.0.1\nmodel:\n  widht: 1\n", "(c.yaml:3). Did you mean `model.width`? The file is from lt==0.0.1"),
        ("trainer: {max_epochs: 1.5}", "takes int or None, got '1.5' (c.yaml:1)"),
        ("trainer: {callbacks: EarlyStoping}", "Did you mean `EarlyStopping`?"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_file_line_and_the_right_name(project, monkeypatch, capsys, text, said):
    monkeypatch.chdir(project / "first")
    Path("c.yaml").write_text(text)
    with pytest.raises(SystemExit) as left:
        raise SystemExit(lt_cli.main(["fit", *QUIET, "--logger=false", "--model=net.py:Net", "--config=c.yaml"]))
    assert (left.value.code, said in capsys.readouterr().err) == (2, True)


HOSTILE = {
    "tag": "model: {width: !!python/object/apply:os.system ['touch ran']}",
    "object": "!!python/object/new:evil.Run {}",
    "class path": "trainer: {callbacks: [{class_path: evil.Run}]}",
    "class path of a group": "model: {class_path: evil.Run}",
    "class within a class": "model: {head: {class_path: net.Head, init_args: {inner: {class_path: evil.Run}}}}",
    "function": "model: {head: {class_path: os.system, init_args: {command: touch ran}}}",
    "standard library": "trainer: {callbacks: [{class_path: subprocess.Popen, init_args: {args: [touch, ran]}}]}",
    "aliases": "\n".join(["a0: &a0 [x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12))]),
    "a circle": "model: &m {width: *m}",
    "depth": "model: {width: " + "[" * 10_000,
    "size": "# " + "x" * 10_000_000,
    "keys that are no text": "{.nan: 1, [1]: 2}",
    "a key twice": "model: {width: 1, width: 2}",
    "a long number": "model: {width: " + "9" * 5000 + "}",
    "control characters": "model: {width: \x00}",
    "an unknown key": "model: {widht: 1}",
    "a command's table that is none": "fit: 3",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_file_is_refused_and_runs_nothing(project, monkeypatch, capsys, kind):
    monkeypatch.chdir(project / "first")
    monkeypatch.syspath_prepend(str(project / "first"))
    Path("evil.py").write_text("open('ran', 'w').close()\nclass Run: pass\n")
    Path("c.yaml").write_text(HOSTILE[kind])
    with pytest.raises(SystemExit) as left:
        raise SystemExit(lt_cli.main(["fit", *QUIET, "--logger=false", "--model=net.py:Net", "--config=c.yaml"]))
    said = capsys.readouterr().err
    assert (left.value.code, said.count("\n"), "Traceback" in said) == (2, 1, False)
    assert ("evil" in sys.modules, Path("ran").exists()) == (False, False)


def test_statuses_of_a_failing_run_and_of_a_typo(project):
    failed = program("fit", *QUIET, "--logger=false", "--model=net.py:Net", "--model.fail", cwd=project / "first")
    assert (failed.returncode, "ValueError: this run fails" in failed.stderr) == (1, True)
    typo = program("fitt", cwd=project)
    assert (typo.returncode, typo.stderr) == (2, "lt-cli: There is no command `fitt`. Did you mean `fit`?\n")


def test_a_terminated_run_says_143(project):
    folder = project / "first"
    words = [Path(sys.executable).with_name("lt-cli"), "fit", "--config=base.yaml", "--max_epochs=10000"]
    process = subprocess.Popen([*words, "--model=net.py:Net"], cwd=folder, stderr=subprocess.PIPE, text=True)
    while not list(folder.glob("lightning_logs/version_0/checkpoints/*.ckpt")):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 143, errors


def test_help_is_remembered_until_something_changes(tmp_path):
    code = (
        "import sys; from lt_cli import main; main(['fit', '--help']); print('torch' in sys.modules, file=sys.stderr)"
    )
    cache = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    first, second, narrow = (
        python("-P", "-c", code, cwd=tmp_path, COLUMNS=width, **cache) for width in ("100", "100", "70")
    )
    assert [done.stderr for done in (first, second, narrow)] == ["True\n", "False\n", "True\n"]
    assert "--limit_train_batches" in first.stdout
    assert first.stdout == second.stdout != narrow.stdout


def test_what_tune_finds_is_what_fit_takes(tmp_path):
    found = program(
        "tune", "--find=both", "--scale_batch_size.max_val=8", "--lr_find.num_training=20", *QUIET, cwd=tmp_path
    )
    assert found.returncode == 0, found.stderr
    options = shlex.split(found.stdout)
    assert options[::2] == ["--data.batch_size", "--model.lr"]
    assert list(tmp_path.iterdir()) == []
    printed = program("config", *options, cwd=tmp_path).stdout
    assert f"  batch_size: {options[1]}\n" in printed
    assert float(options[3]) > 0
