"""The command line on the demo, in processes of its own: what it prints, writes and returns."""

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import lt_checkpoint
import pytest
import torch
from programs import lt_cli, run, snapshot

CONTROL = re.compile(r"[^\n\x20-\x7e]")

FILE = '''
import json
import os
from pathlib import Path

import torch
from lt.demo import DigitClassifier, Digits


class Model(DigitClassifier):
    """Says in a file of each process what it is and how it computes."""

    def __init__(self, width: int = 4, reason: str = "") -> None:
        super().__init__(width)
        self.reason = reason

    def training_step(self, batch, batch_idx):
        if self.reason:
            raise RuntimeError(self.reason)
        half = self.net[0](batch[0]).dtype
        facts = {"pid": os.getpid(), "width": self.net[0].out_channels, "dtype": str(half), "batch": len(batch[1])}
        Path(f"process-{self.trainer.global_rank}.json").write_text(json.dumps(facts))
        return super().training_step(batch, batch_idx)


class Data(Digits):
    pass
'''


@pytest.fixture(scope="module")
def full(tmp_path_factory) -> Path:
    """A folder in which `lt-cli fit` ran with nothing else, everything it said in one file."""
    folder = tmp_path_factory.mktemp("demo")
    with open(folder / "said.txt", "w") as said:
        done = subprocess.run(
            [Path(sys.executable).with_name("lt-cli"), "fit"], cwd=folder, stdout=said, stderr=subprocess.STDOUT
        )
    assert done.returncode == 0, (folder / "said.txt").read_text()
    return folder


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder with a model and data in a file of the user's."""
    (tmp_path / "own.py").write_text(FILE)
    return tmp_path


def facts(folder: Path) -> list[dict[str, object]]:
    """What each process said of itself, by rank."""
    return [json.loads(path.read_text()) for path in sorted(folder.glob("process-*.json"))]


def metrics_in(table: str) -> dict[str, float]:
    return {name: float(value) for name, value in re.findall(r"^(\w+) +([\d.e-]+)$", table, re.MULTILINE)}


def test_in_a_file_the_output_is_a_few_plain_lines(full):
    text = (full / "said.txt").read_text()
    assert not CONTROL.search(text)
    assert len(text.splitlines()) < 60
    assert re.search(r"^epoch 1/1000 +done, 40 batches", text, re.MULTILINE)


def test_the_last_lines_say_what_was_reached_and_where_everything_is(full):
    reached, time, best, last, logs, curves = (full / "said.txt").read_text().splitlines()[-6:]
    assert re.match(r"Trained \d+ steps to epoch \d+ in [\d.]+ s: .*val_acc 0\.9", reached)
    assert time.startswith("Time: set-up ")
    found = re.match(r"Best checkpoint: (\S+) \(val_loss 0\.\d+\)", best), re.match(r"Last checkpoint: (\S+)$", last)
    assert all((full / match[1]).is_file() for match in found)
    folder = full / re.match(r"Logs: (\S+)$", logs)[1]
    found = {path.name.partition(".")[0] for path in folder.iterdir()}
    assert found == {"checkpoints", "config", "events", "hparams", "metrics", "report"}
    assert curves == f"Curves: {(folder / 'report.html').relative_to(full)}"


def test_training_stopped_early_at_the_end_of_an_epoch(full):
    [path] = full.glob("lightning_logs/*/checkpoints/last.ckpt")
    last = lt_checkpoint.load(path)
    assert last["global_step"] == 40 * (last["epoch"] + 1)
    assert last["epoch"] < 200
    [stopping] = [state for key, state in last["callbacks"].items() if key.startswith("EarlyStopping")]
    assert stopping["wait_count"] == stopping["patience"]


def test_the_best_checkpoint_is_right_in_95_of_100(full):
    done = lt_cli("test", "--ckpt_path", "best", cwd=full)
    assert done.returncode == 0, done.stderr
    assert metrics_in(done.stdout)["test_acc"] >= 0.95


def test_validation_of_the_last_checkpoint_gives_what_the_fit_ended_with(full):
    done = lt_cli("validate", "--ckpt_path", "last", cwd=full)
    assert done.returncode == 0, done.stderr
    [reached] = [line for line in (full / "said.txt").read_text().splitlines() if line.startswith("Trained ")]
    said = {name: float(value) for name, value in re.findall(r"(val_\w+) ([\d.e-]+)", reached)}
    assert metrics_in(done.stdout) == pytest.approx(said, rel=1e-3)


def test_prediction_takes_a_path_and_shows_a_digit_for_each_image(full):
    path = next(full.glob("lightning_logs/*/checkpoints/epoch=*.ckpt"))
    before = path.read_bytes()
    done = lt_cli("predict", "--ckpt_path", path.relative_to(full), cwd=full)
    assert done.returncode == 0, done.stderr
    assert "predicting  done, 9 batches" in done.stderr
    assert len(re.findall(r"\b\d\b", done.stdout)) == 270
    assert path.read_bytes() == before


def test_on_a_terminal_there_is_a_bar(tmp_path):
    ours, theirs = pty.openpty()
    command = [Path(sys.executable).with_name("lt-cli"), "fit", "--max_epochs", "1"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    said = b""
    try:
        while part := os.read(ours, 1 << 16):
            said += part
    except OSError:
        pass  # how Linux says that the other side is closed
    os.close(ours)
    assert process.wait(timeout=60) == 0, said.decode()
    assert re.search(r"\rEpoch 1/1: +\d+%\|.*\| \d+/40", said.decode()), said.decode()
    assert "Best checkpoint: " in said.decode()


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without a GPU")
def test_without_a_gpu_one_sentence_names_the_devices_there_are(tmp_path):
    done = lt_cli("fit", "--accelerator", "gpu", "--precision", "16", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "lt-cli fit: `accelerator='gpu'` was asked for, but this machine has no CUDA GPU; available: cpu. "
        "Pass one of these, or 'auto'.\n"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_same_job_runs_on_a_gpu(own):
    arguments = ("--max_epochs", 3, "--model", "own.py:Model", "--model.width", 16)
    done = lt_cli("fit", "--accelerator", "gpu", "--precision", "16", *arguments, cwd=own)
    assert done.returncode == 0, done.stderr
    assert facts(own)[0]["dtype"] == "torch.float16"
    assert metrics_in(lt_cli("test", "--ckpt_path", "best", *arguments[2:], cwd=own).stdout)["test_acc"] > 0.8


def test_two_processes_train_one_model_and_write_one_set_of_files(own):
    arguments = ("--accelerator", "cpu", "--devices", 2, "--strategy", "ddp", "--max_epochs", 1)
    done = lt_cli("fit", *arguments, "--model", "own.py:Model", cwd=own)
    assert done.returncode == 0, done.stderr
    first, second = facts(own)
    assert first["pid"] != second["pid"]
    [run_folder] = (own / "lightning_logs").iterdir()
    assert len(list(run_folder.glob("events.*"))) == 1
    assert {path.name for path in (run_folder / "checkpoints").iterdir()} == {"epoch=0-step=20.ckpt", "last.ckpt"}
    assert done.stdout.count("Best checkpoint: ") == done.stderr.count("done, 20 batches") == 1


def test_bf16_computes_in_bf16(own):
    done = lt_cli("fit", "--precision", "bf16", "--max_epochs", 1, "--model", "own.py:Model", cwd=own)
    assert done.returncode == 0, done.stderr
    assert facts(own)[0]["dtype"] == "torch.bfloat16"
    [path] = own.glob("lightning_logs/*/checkpoints/last.ckpt")
    assert {value.dtype for value in lt_checkpoint.load(path)["state_dict"].values()} == {torch.float32}


def test_a_model_and_data_of_ones_own_take_their_arguments(own):
    own_classes = ("--model", "own.py:Model", "--model.width", 3, "--data", "own.py:Data", "--data.batch_size", 100)
    done = lt_cli("fit", "--max_epochs", 1, "--limit_train_batches", 2, *own_classes, cwd=own)
    assert done.returncode == 0, done.stderr
    assert facts(own) == [{"pid": facts(own)[0]["pid"], "width": 3, "dtype": "torch.float32", "batch": 100}]


def test_a_seed_makes_two_runs_the_same(tmp_path):
    for _ in range(2):
        done = lt_cli("fit", "--max_epochs", 1, "--limit_train_batches", 5, "--seed_everything", 3, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    one, other = (lt_checkpoint.load(path)["state_dict"] for path in tmp_path.glob("lightning_logs/*/*/last.ckpt"))
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def test_an_unknown_option_is_told_the_nearest_one(own):
    before = snapshot(own)
    done = lt_cli("fit", "--max_epoch", 3, cwd=own)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "lt-cli fit: There is no option `--max_epoch`. Did you mean `--max_epochs`?\n"
    assert snapshot(own) == before


def test_a_failed_run_ends_with_status_1_and_the_line_that_failed(own):
    done = lt_cli("fit", "--model", "own.py:Model", "--model.reason", "the sensor is off", cwd=own)
    assert done.returncode == 1
    assert "raise RuntimeError(self.reason)" in done.stderr
    assert done.stderr.rstrip().endswith("RuntimeError: the sensor is off")


def test_when_one_process_fails_all_end_with_status_1(own):
    arguments = ("--devices", 2, "--strategy", "ddp", "--model", "own.py:Model", "--model.reason", "the sensor is off")
    done = lt_cli("fit", *arguments, cwd=own)
    assert done.returncode == 1
    assert "RuntimeError: the sensor is off" in done.stderr


def test_the_module_runs_as_the_script_does(tmp_path):
    done = run(sys.executable, "-m", "lt_cli", "fit", "--fast_dev_run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []
