import csv
import os
import pickle
import signal
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import lt_interfaces
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lt_loggers import CSVLogger, Logger
from lt_loggers.metrics import column_name


def rows_of(logger):
    logger.finalize("success")
    with open(Path(logger.log_dir) / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_it_is_a_logger_of_the_shared_protocol(tmp_path):
    logger: lt_interfaces.Logger = CSVLogger(tmp_path)
    assert isinstance(logger, lt_interfaces.Logger)
    assert isinstance(logger, Logger)
    assert logger.group_separator == "/"


def test_neither_the_package_nor_the_csv_logger_needs_torch(tmp_path):
    code = "import sys; sys.modules['torch'] = sys.modules['tensorboard'] = None; from lt_loggers import CSVLogger\n"
    code += f"CSVLogger({str(tmp_path)!r}).log_metrics({{'loss': 1.5}})"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert (tmp_path / "lightning_logs/version_0/metrics.csv").read_text() == "loss,step\n1.5,0\n"


def test_making_a_logger_writes_nothing_and_neither_does_closing_it(tmp_path):
    logger = CSVLogger(tmp_path / "logs")
    logger.save()
    logger.finalize("success")
    assert not (tmp_path / "logs").exists()


def test_each_record_is_a_row_with_empty_cells_for_what_it_lacks(tmp_path):
    logger = CSVLogger(tmp_path, flush_logs_every_n_steps=1)
    logger.log_metrics({"epoch": 0, "train_loss": 0.5}, 9)
    logger.log_metrics({"epoch": 0, "val_loss": 0.25, "acc": 1}, 9)
    logger.finalize("success")
    text = (tmp_path / "lightning_logs/version_0/metrics.csv").read_text()
    assert text == "epoch,step,train_loss,acc,val_loss\n0,9,0.5,,\n0,9,,1,0.25\n"


def test_a_record_without_step_follows_the_last_one_also_in_a_continued_run(tmp_path):
    first = CSVLogger(tmp_path, version=0)
    first.log_metrics({"a": 1})
    first.log_metrics({"a": 2}, step=7)
    first.log_metrics({"a": 3})
    assert [row["step"] for row in rows_of(first)] == ["0", "7", "8"]
    second = CSVLogger(tmp_path, version=0)
    second.log_metrics({"a": 4})
    second.log_metrics({"a": 5, "step": 20})
    assert [row["step"] for row in rows_of(second)] == ["0", "7", "8", "9", "20"]


def test_a_foreign_file_is_continued_and_keeps_every_cell(tmp_path):
    file = tmp_path / "run/metrics.csv"
    file.parent.mkdir()
    file.write_bytes(b'step,note,loss\r\n4,"a,\nb\xff",0.5\r\n5,caf\xc3\xa9,0.25')
    file.chmod(0o640)
    logger = CSVLogger(tmp_path, name=None, version="run")
    logger.log_metrics({"loss": 0.125})
    logger.log_metrics({"acc": 1.0})
    logger.finalize("success")
    with open(file, newline="", encoding="utf-8", errors="surrogateescape") as stream:
        rows = list(csv.reader(stream))
    assert rows[0] == ["step", "note", "loss", "acc"]
    assert rows[1:3] == [["4", "a,\nb\udcff", "0.5", ""], ["5", "café", "0.25", ""]]
    assert rows[3:] == [["6", "", "0.125", ""], ["7", "", "", "1.0"]]
    assert file.stat().st_mode & 0o777 == 0o640


def test_a_last_line_that_was_cut_off_does_not_swallow_the_next_row(tmp_path):
    file = tmp_path / "0/metrics.csv"
    file.parent.mkdir()
    file.write_text("loss,step\n1.0,0\n0.")
    logger = CSVLogger(tmp_path, name="", version="0")
    logger.log_metrics({"loss": 2.0}, 1)
    logger.finalize("failed")
    assert file.read_text() == "loss,step\n1.0,0\n0.\n2.0,1\n"


class OneNumber:
    def item(self):
        return 3.5


@pytest.mark.parametrize(
    ("value", "cell"),
    [(OneNumber(), "3.5"), (Decimal("0.5"), "0.5"), (True, "1"), (10**30, str(10**30)), (float("nan"), "nan")],
)
def test_anything_that_is_one_number_is_a_value(tmp_path, value, cell):
    logger = CSVLogger(tmp_path)
    logger.log_metrics({"x": value})
    assert rows_of(logger)[0]["x"] == cell


@pytest.mark.parametrize("value", ["0.5", None, [1.0], object()])
def test_a_value_that_is_not_one_number_is_an_error_naming_the_metric(tmp_path, value):
    with pytest.raises(TypeError, match=r"Metric `x` must be one number, got .*\. Reduce it first"):
        CSVLogger(tmp_path).log_metrics({"x": value})


def test_tensors_are_read_when_they_are_logged(tmp_path):
    torch = pytest.importorskip("torch")
    loss = torch.tensor([1.0])
    logger = CSVLogger(tmp_path)
    logger.log_metrics({"loss": loss}, torch.tensor(3))
    loss.fill_(9)
    with pytest.raises(TypeError, match="one number"):
        logger.log_metrics({"loss": torch.zeros(2)})
    assert rows_of(logger) == [{"loss": "1.0", "step": "3"}]


def test_nested_metrics_become_columns_and_the_prefix_leads(tmp_path):
    logger = CSVLogger(tmp_path, prefix="run")
    logger.log_metrics({"loss": {"train": 1, "val": 2}, "acc": 3.0}, 0)
    assert rows_of(logger) == [{"run-acc": "3.0", "run-loss/train": "1", "run-loss/val": "2", "step": "0"}]


def test_a_metrics_name_must_be_a_string(tmp_path):
    with pytest.raises(TypeError, match="name must be a string, got 3"):
        CSVLogger(tmp_path).log_metrics({3: 1.0})


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("=cmd()", "'=cmd()"),
        ("@x", "'@x"),
        ("-1", "'-1"),
        ("a\nb", "a\\nb"),
        ("\t=x", "\\t=x"),
        ("\x1b[2J", "\\x1b[2J"),
    ],
)
def test_names_cannot_inject_formulas_or_control_characters(name, column):
    assert column_name(name) == column


@given(st.text())
def test_every_column_name_is_one_inert_printable_line(name):
    written = column_name(name)
    assert written.isprintable()
    assert not written.startswith(("=", "+", "-", "@"))
    assert written.encode().decode() == written


@pytest.mark.skipif(not os.path.exists("/proc/self/io"), reason="counts writes as Linux does")
def test_ten_thousand_rows_cost_few_writes_and_no_rewriting(tmp_path):
    def written():
        fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
        return int(fields["wchar"]), int(fields["syscw"])

    logger = CSVLogger(tmp_path)
    logger.log_metrics({"loss": 0.5}, 0)
    size, calls = written()
    for step in range(1, 10_001):
        logger.log_metrics({"loss": 0.5}, step)
    logger.finalize("success")
    size_after, calls_after = written()
    assert len(rows_of(logger)) == 10_001
    assert size_after - size < 1.5 * os.path.getsize(Path(logger.log_dir) / "metrics.csv")
    assert calls_after - calls < 250


def test_kill_9_after_save_keeps_the_rows_that_were_flushed(tmp_path):
    code = "import os, signal; from lt_loggers import CSVLogger\n"
    code += f"logger = CSVLogger({str(tmp_path)!r}, flush_logs_every_n_steps=10)\n"
    code += "for step in range(35): logger.log_metrics({'loss': step / 2}, step); logger.save()\n"
    code += "os.kill(os.getpid(), signal.SIGKILL)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == -signal.SIGKILL
    lines = (tmp_path / "lightning_logs/version_0/metrics.csv").read_text().splitlines()
    assert len(lines) > 30
    assert lines == ["loss,step", *(f"{step / 2},{step}" for step in range(len(lines) - 1))]


def test_what_a_killed_rewrite_left_is_swept_when_the_run_goes_on(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".metrics.csv.0123.tmp").write_text("step")
    logger = CSVLogger(tmp_path, name=None, version="run")
    logger.log_metrics({"a": 1}, 1)
    logger.save()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["metrics.csv"]


def test_the_file_can_be_read_right_after_the_first_record(tmp_path):
    logger = CSVLogger(tmp_path)
    logger.log_metrics({"loss": 1.0})
    assert (Path(logger.log_dir) / "metrics.csv").read_text() == "loss,step\n1.0,0\n"


def test_a_program_that_just_ends_loses_no_row(tmp_path):
    code = f"from lt_loggers import CSVLogger; logger = CSVLogger({str(tmp_path)!r})\n"
    code += "for step in range(5): logger.log_metrics({'a': step}, step)"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert len((tmp_path / "lightning_logs/version_0/metrics.csv").read_text().splitlines()) == 6


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_that_drops_the_logger_writes_nothing(tmp_path):
    code = f"import os; from lt_loggers import CSVLogger; logger = CSVLogger({str(tmp_path)!r})\n"
    code += "for step in range(5): logger.log_metrics({'a': step}, step)\n"
    code += "pid = os.fork()\nif pid: os.waitpid(pid, 0)"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert len((tmp_path / "lightning_logs/version_0/metrics.csv").read_text().splitlines()) == 6


def test_a_copy_continues_the_run_and_leaves_the_buffer_behind(tmp_path):
    logger = CSVLogger(tmp_path)
    logger.log_metrics({"a": 1})
    logger.log_metrics({"a": 2})
    copy = pickle.loads(pickle.dumps(logger))
    assert copy.log_dir == logger.log_dir
    assert len(rows_of(logger)) == 2
    copy.log_metrics({"a": 3})
    assert [row["step"] for row in rows_of(copy)] == ["0", "1", "2"]


def test_other_ranks_write_nothing_and_know_no_version(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    logger = CSVLogger(tmp_path / "logs")
    logger.log_metrics({"loss": 1.0}, 0)
    logger.log_hyperparams({"lr": 0.1})
    logger.experiment.anything[0].goes(here=1)
    logger.save()
    logger.finalize("success")
    assert (logger.version, logger.log_dir) == (None, None)
    assert not (tmp_path / "logs").exists()


def test_rows_must_be_written_at_least_one_by_one(tmp_path):
    with pytest.raises(ValueError, match="`flush_logs_every_n_steps` must be at least 1, got 0"):
        CSVLogger(tmp_path, flush_logs_every_n_steps=0)


def test_a_disk_that_is_full_for_a_while_costs_neither_the_run_nor_a_row(tmp_path):
    code = f"""
import resource, warnings
from lt_loggers import CSVLogger
logger = CSVLogger({str(tmp_path)!r}, flush_logs_every_n_steps=1)
resource.setrlimit(resource.RLIMIT_FSIZE, (40, resource.RLIM_INFINITY))
for step in range(50):
    logger.log_metrics({{"loss": step / 8}}, step)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
logger.finalize("success")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.count("could not be written") == 1
    with open(tmp_path / "lightning_logs/version_0/metrics.csv") as file:
        assert [(int(row["step"]), float(row["loss"])) for row in csv.DictReader(file)] == [
            (step, step / 8) for step in range(50)
        ]


def test_rows_that_can_never_be_written_are_counted(tmp_path):
    logger = CSVLogger(tmp_path)
    logger.log_metrics({"loss": 1.0}, 0)
    logger.experiment.flush()
    path = Path(logger.log_dir) / "metrics.csv"
    path.unlink()
    path.mkdir()
    logger.log_metrics({"loss": 2.0}, 1)
    with pytest.warns(UserWarning, match=r"metrics.csv'( could not be written: .*| and are lost)\.") as told:
        logger.finalize("success")
    assert str(told[1].message).startswith("1 rows could not be written")
    path.rmdir()


def test_a_file_that_was_taken_away_begins_anew_with_its_header(tmp_path):
    logger = CSVLogger(tmp_path, name="", version="")
    logger.log_metrics({"loss": 1.0}, 0)
    logger.experiment.flush()
    (tmp_path / "metrics.csv").unlink()
    logger.log_metrics({"loss": 2.0}, 1)
    logger.finalize("success")
    assert (tmp_path / "metrics.csv").read_text() == "loss,step\n2.0,1\n"


def test_columns_are_in_the_order_of_counting(tmp_path):
    logger = CSVLogger(tmp_path, name="", version="")
    logger.log_metrics({"loss_10": 1.0, "loss_9": 2.0, "9": 3.0, "acc": 4.0}, 0)
    logger.finalize("success")
    assert (tmp_path / "metrics.csv").read_text().splitlines()[0] == "9,acc,loss_9,loss_10,step"
