import json
import os
import pickle
import re
import subprocess
import sys
import warnings
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import lt_interfaces
import pytest
from lt_loggers import CSVLogger, HTMLLogger

VOID = {"meta", "input", "br"}
HOSTILE = '<script>alert("x")</script>\x1b[2J\u202e'


class Page(HTMLParser):
    """A page's tags in order, its text, and the tags that are open or closed wrongly."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self.open, self.wrong = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.open += [tag] * (tag not in VOID)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data):
        self.text.append(data)

    def of(self, tag, kind=""):
        return [attrs for name, attrs in self.tags if name == tag and kind in attrs.get("class", "")]


def page_of(logger):
    return Page(Path(logger.log_dir, "report.html").read_text(encoding="utf-8"))


def trained(tmp_path, **options):
    logger = HTMLLogger(tmp_path, **options)
    for epoch, loss in enumerate([0.9, 0.5, 0.25, 0.4]):
        logger.log_metrics({"epoch": epoch, "train_loss": loss / 2, "lr-Adam": 0.1}, 40 * epoch + 10)
        logger.log_metrics({"epoch": epoch, "val_loss": loss, "val_acc": 1 - loss}, 40 * epoch + 40)
    return logger


def test_it_is_a_logger_of_the_shared_protocol(tmp_path):
    logger: lt_interfaces.Logger = HTMLLogger(tmp_path)
    assert isinstance(logger, lt_interfaces.Logger)


def test_making_a_logger_writes_nothing_and_neither_does_closing_it(tmp_path):
    logger = HTMLLogger(tmp_path)
    logger.save()
    logger.finalize("success")
    assert list(tmp_path.iterdir()) == []


def test_the_page_is_well_formed_and_fetches_nothing(tmp_path):
    logger = trained(tmp_path)
    logger.finalize("success")
    page, text = page_of(logger), Path(logger.log_dir, "report.html").read_text()
    assert (page.open, page.wrong) == ([], [])
    assert not re.findall(r"https?:|//\w|@import|url\(", text.replace("http://www.w3.org/2000/svg", ""))
    assert not {"link", "img", "iframe", "object"} & {tag for tag, _ in page.tags}
    assert not any({"src", "href", "onclick"} & set(attrs) for _, attrs in page.tags)
    assert "default-src 'none'" in page.of("meta")[1]["content"]


def test_train_and_validation_share_a_chart_and_the_best_point_is_marked(tmp_path):
    logger = trained(tmp_path)
    logger.finalize("success")
    page = page_of(logger)
    lines = [line for line in page.of("path", "line") if "data-label" in line]
    assert [line["data-label"] for line in lines] == ["train", "validation", "validation", "Adam", "steps_per_sec"]
    assert lines[1]["data-points"] == "40:0.9 80:0.5 120:0.25 160:0.4"
    assert len(page.of("svg")) == 4
    assert {"best 0.25 at step 120", "best 0.75 at step 120", "step 120, epoch 2", "finished"} <= set(page.text)
    assert any("160 steps · 4 epochs" in part for part in page.text)


def test_everything_that_users_name_is_escaped(tmp_path):
    logger = HTMLLogger(tmp_path, name="a<b>&\"'")
    logger.log_hyperparams({HOSTILE: HOSTILE, "api_key": "sk-CANARY", "big": "x" * 5000})
    for step in range(3):
        logger.log_metrics({HOSTILE: step, f"val_{HOSTILE}_loss": step, "val_</script>": 1}, step)
    callback = SimpleNamespace(best_model_path=HOSTILE, monitor=HOSTILE, best_k_models={HOSTILE: 1.0})
    logger.after_save_checkpoint(callback)
    logger.finalize(HOSTILE)
    page, text = page_of(logger), Path(logger.log_dir, "report.html").read_text()
    assert (page.open, page.wrong) == ([], [])
    assert len(page.of("script")) == 2
    assert not [part for part in ("\x1b", "\u202e", "sk-CANARY", "x" * 500) if part in text]


def test_checkpoints_are_listed_with_their_scores_and_tell_what_is_better(tmp_path):
    logger = trained(tmp_path)
    folder = os.path.join(logger.log_dir, "checkpoints")
    logger.after_save_checkpoint(
        SimpleNamespace(
            best_model_path=f"{folder}/a.ckpt", last_model_path=f"{folder}/last.ckpt", monitor="val_acc", mode="min",
            best_k_models={f"{folder}/b.ckpt": 0.5, f"{folder}/a.ckpt": 0.1},
        )
    )  # fmt: skip
    logger.finalize("success")
    page = page_of(logger)
    at = page.text.index("checkpoints/a.ckpt")
    assert page.text[at : at + 3] == ["checkpoints/a.ckpt", "val_acc 0.1", "best"]
    assert page.text[at + 3 : at + 5] == ["checkpoints/b.ckpt", "val_acc 0.5"]
    assert page.text[at + 5 : at + 7] == ["checkpoints/last.ckpt", "last"]
    assert "best 0.1 at step 40" in page.text


def test_the_page_is_there_at_once_and_the_run_decides_when_it_is_written_again(tmp_path):
    logger = HTMLLogger(tmp_path)
    logger.log_metrics({"loss": 1.0}, 0)
    file = Path(logger.log_dir, "report.html")
    first = file.stat().st_ino
    assert "running" in page_of(logger).text
    assert page_of(logger).of("meta")[-1] == {"http-equiv": "refresh", "content": "30"}
    for step in range(1, 2000):
        logger.log_metrics({"loss": 1.0, "epoch": step}, step)
        logger.save()
    assert file.stat().st_ino == first
    logger.experiment.write()
    assert [path.name for path in file.parent.iterdir()] == ["report.html"]
    assert "1,999 steps" in "".join(page_of(logger).text)


def test_a_failed_write_leaves_the_old_page_and_the_run_goes_on(tmp_path):
    logger = trained(tmp_path)
    logger.finalize("success")
    old = Path(logger.log_dir, "report.html").read_text()
    logger.log_metrics({"val_loss": 0.1}, 200)
    logger.experiment.path = tmp_path / "gone/report.html"
    with pytest.warns(UserWarning, match="could not be written"):
        logger.finalize("failed")
    logger.finalize("failed")
    assert Path(logger.log_dir, "report.html").read_text() == old


def test_the_page_of_a_long_run_with_many_metrics_stays_below_a_megabyte(tmp_path):
    logger = HTMLLogger(tmp_path)
    row = {f"layer_{i}/train": 0.0 for i in range(60)}
    for step in range(2500):
        logger.log_metrics({**dict.fromkeys(row, (step * 7919) % 1000 / 7 + 0.001), "epoch": step}, step)
    logger.log_hyperparams({f"p{i}": "y" * 1000 for i in range(1000)})
    logger.finalize("success")
    assert 50_000 < Path(logger.log_dir, "report.html").stat().st_size < 1_000_000


def test_values_that_are_not_finite_are_told_and_not_drawn(tmp_path):
    logger = HTMLLogger(tmp_path)
    for step, loss in enumerate([1.0, 0.5, float("nan"), float("inf")]):
        logger.log_metrics({"train_loss": loss, "only_nan": float("nan")}, step)
    logger.finalize("failed")
    page = page_of(logger)
    assert {"train is nan at step 2", "failed"} <= set(page.text)
    assert page.of("path", "failure")
    assert "nan" not in page.of("path", "line")[0]["d"]


def test_a_run_that_goes_on_shows_what_was_before_and_adds_the_time(tmp_path):
    for start, losses in ((0, [4.0, 3.0, 9.0]), (2, [2.0, 1.0])):
        csv = CSVLogger(tmp_path, version=0)
        html = HTMLLogger(tmp_path).beside(csv)
        for step, loss in enumerate(losses, start):
            csv.log_metrics({"val_loss": loss}, step)
            html.log_metrics({"val_loss": loss}, step)
        csv.finalize("success")
        html.finalize("success")
    page = page_of(html)
    assert page.of("path", "line")[0]["data-points"] == "0:4 1:3 2:2 3:1"
    facts = json.loads(re.search(r'id="run">(.*?)</script>', Path(html.log_dir, "report.html").read_text())[1])
    assert facts["seconds"] >= html.experiment.run.seconds > 0


def test_a_program_that_just_ends_says_so(tmp_path):
    code = "import sys; sys.modules['torch'] = None; from lt_loggers import HTMLLogger\n"
    code += f"logger = HTMLLogger({str(tmp_path)!r})\n"
    code += "for step in range(5): logger.log_metrics({'loss': step}, step)"
    subprocess.run([sys.executable, "-c", code], check=True)
    page = Page((tmp_path / "lightning_logs/version_0/report.html").read_text())
    assert "ended" in page.text
    assert "4 steps" in "".join(page.text)


def test_a_prefix_leads_the_metrics_and_not_their_place(tmp_path):
    logger = trained(tmp_path, prefix="run")
    assert set(logger.experiment.run.records.curves) == {
        f"run-{n}" for n in ("train_loss", "lr-Adam", "val_loss", "val_acc")
    }
    assert logger.experiment.run.records.epoch == 3


def test_other_ranks_write_nothing_and_a_copy_starts_anew(tmp_path, monkeypatch):
    copy = pickle.loads(pickle.dumps(trained(tmp_path / "zero")))
    assert copy._experiment is None
    monkeypatch.setenv("RANK", "1")
    logger = trained(tmp_path / "one")
    logger.log_hyperparams({"lr": 0.1})
    logger.after_save_checkpoint(SimpleNamespace())
    logger.finalize("success")
    assert not (tmp_path / "one").exists()


def test_warnings_are_shown_counted_and_still_go_where_they_went(tmp_path):
    logger = trained(tmp_path)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        logger.experiment._warnings.start()
        for _ in range(3):
            warnings.warn(f"few workers {HOSTILE}", stacklevel=1)
    assert len(seen) == 3
    logger.finalize("success")
    page = page_of(logger)
    assert (page.open, page.wrong) == ([], [])
    assert any("3 warnings" in part for part in page.text)
    at = page.text.index("Warnings")
    assert page.text[at + 1].startswith("UserWarning: few workers <script>")
    assert re.fullmatch(r"tests/test_html_logger\.py:\d+", page.text[at + 2])
    assert page.text[at + 3] == "3 times"


def test_after_the_run_warnings_are_none_of_its_business(tmp_path):
    with warnings.catch_warnings():
        shown = warnings.showwarning
        logger = trained(tmp_path)
        assert warnings.showwarning is not shown
        logger.finalize("success")
        assert warnings.showwarning is shown


def test_a_run_that_goes_on_keeps_its_warnings_and_speeds(tmp_path):
    first = trained(tmp_path, version=0)
    first.experiment.run.warnings[("UserWarning: old", "a.py:1")] = 2
    first.finalize("success")
    speeds = first.experiment.run.speed.columns(9)
    again = HTMLLogger(tmp_path, version=0)
    assert again.experiment.run.warnings == {("UserWarning: old", "a.py:1"): 2}
    assert again.experiment.run.speed.columns(9) == speeds
    assert [column.step for column in speeds] == [50, 90, 130, 160]
    assert min(column.mean for column in speeds) > 0


def test_learning_rates_are_drawn_unless_the_records_hold_them(tmp_path):
    told, own = HTMLLogger(tmp_path, "told"), HTMLLogger(tmp_path, "own")
    own.log_metrics({"lr-Adam": 0.5}, 1)
    for logger in (told, own):
        for step in (1, 2):
            logger.log_learning_rates({"lr-Adam": 0.125 * step}, step)
        logger.finalize("success")
    pages = [next((tmp_path / name).rglob("report.html")).read_text() for name in ("told", "own")]
    assert ["0.125" in page for page in pages] == [True, False]


def test_a_metrics_name_must_be_a_string(tmp_path):
    with pytest.raises(TypeError, match="name must be a string, got 3"):
        HTMLLogger(tmp_path).log_metrics({3: 1.0})
