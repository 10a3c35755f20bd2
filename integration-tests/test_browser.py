"""The pages that runs leave, in a real browser: what a reader sees, and that the page asks nobody for anything."""

import csv
import re
import shutil
import subprocess
import sys
from pathlib import Path

import browser as chromium
import pytest
from lt.loggers import CSVLogger, HTMLLogger
from programs import lt_cli, python

pytestmark = pytest.mark.skipif(chromium.PROGRAM is None, reason="no Chromium on this machine: apt install chromium")

HOSTILE = '</script><img src=x onerror="window.hacked = 1"><script>window.hacked = 1</script>\'&'
PROGRAM = """
import warnings

import lt
import torch
from lt.callbacks import LearningRateMonitor
from lt.demo import DigitClassifier, Digits


class Model(DigitClassifier):
    def on_train_epoch_start(self):
        if self.current_epoch == 1:
            warnings.warn("the lamp <b>flickers</b>")

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)
        return [optimizer], [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 8)]


lt.seed_everything(1)
trainer = lt.Trainer(max_epochs=8, accelerator="cpu", callbacks=[LearningRateMonitor()], log_every_n_steps=10)
trainer.fit(Model(width=4), datamodule=Digits())
"""
# What is drawn, by chart: a line's label, its length and its colour; whether its best point is within the picture.
DRAWN = """Object.fromEntries([...document.querySelectorAll("figure")].map(figure => [
  figure.querySelector("h3").textContent,
  [...figure.querySelectorAll("[data-label]")].map(line => ({
    label: line.dataset.label, length: line.getTotalLength(), colour: getComputedStyle(line).stroke,
  })).concat([...figure.querySelectorAll(".lin circle.best")].map(ring => {
    const inside = ring.getBoundingClientRect(), around = figure.querySelector("svg").getBoundingClientRect();
    return {label: "best", is_inside: inside.left > around.left && inside.right < around.right
      && inside.top >= around.top - 4 && inside.bottom < around.bottom, colour: getComputedStyle(ring).stroke};
  })),
]))"""
TABLES = """Object.fromEntries([...document.querySelectorAll("section.card")].map(card => [
  card.querySelector("h3")?.firstChild.textContent.trim() ?? "",
  [...card.querySelectorAll("tr")].map(row => [...row.cells].map(cell => cell.innerText.trim())),
]))"""
SMALLEST_TEXT = """Math.min(...[...document.querySelectorAll("svg text")].map(text =>
  parseFloat(getComputedStyle(text).fontSize) * text.getScreenCTM().a))"""
OUTSIDE = """[...document.querySelectorAll("h1, h3, p, figure, .card, .tile, label, .legend li")].filter(part => {
  const box = part.getBoundingClientRect();
  return box.width > 0 && (box.left < 0 || box.right > innerWidth + 1);
}).length"""


# The curves of TensorBoard's cards, told from its icons by their coordinates: their lengths, by metric.
CURVES = """Object.fromEntries([...document.querySelectorAll("scalar-card")].map(card => [
  card.innerText.split("\\n")[0],
  [...card.querySelectorAll("path")].filter(path => /^M[-.\\d]+,[-.\\d]+L/.test(path.getAttribute("d")))
    .map(path => path.getTotalLength()),
]))"""


@pytest.fixture(scope="module")
def window(tmp_path_factory):
    opened = chromium.Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """A folder with the demo's run as `version_0`, and a run with a schedule and a warning as `version_1`."""
    folder = tmp_path_factory.mktemp("runs")
    done = lt_cli("fit", "--max_epochs", 8, "--seed_everything", 0, cwd=folder)
    assert done.returncode == 0, done.stderr
    done = python("-c", PROGRAM, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "lightning_logs"


@pytest.fixture
def demo(window, runs):
    """The window with the demo's report."""
    show(window, runs / "version_0" / "report.html")
    return window


def show(window, page: Path, width: int = 1280) -> None:
    window.resize(width, 900)
    window.prefer("light")
    window.open(page.as_uri())


def last_val_loss(table: Path) -> float:
    with open(table, newline="") as rows:
        return [float(row["val_loss"]) for row in csv.DictReader(rows) if row["val_loss"]][-1]


def is_clean(window) -> bool:
    """The page complained of nothing, and fetched nothing but itself."""
    return window.complaints == [] and len(window.requests) == 1


def test_training_is_drawn_beside_validation_and_the_best_point_is_marked(demo):
    loss, accuracy = (demo.ask(DRAWN)[name] for name in ("loss", "acc"))
    assert [part["label"] for part in loss] == ["train", "validation", "best"]
    assert [part["label"] for part in accuracy] == ["validation", "best"]
    assert all(part["length"] > 100 for part in (*loss, *accuracy) if part["label"] != "best")
    assert loss[0]["colour"] != loss[1]["colour"] == loss[2]["colour"]
    assert loss[2]["is_inside"]
    assert accuracy[1]["is_inside"]
    assert is_clean(demo)


def test_the_tables_of_a_run_are_filled(demo):
    tables = demo.ask(TABLES)
    assert {row[0] for row in tables["Values"]} == {
        "metric",
        "train_loss",
        "val_loss",
        "val_acc",
        "lr-Adam",
        "steps_per_sec",
    }
    assert all(cell for row in tables["Values"] for cell in row)
    best, last = tables["Checkpoints"]
    assert re.fullmatch(r"checkpoints/epoch=\d-step=\d+\.ckpt", best[0])
    assert re.fullmatch(r"val_loss 0\.\d+", best[1])
    assert (best[2], last[0], last[2]) == ("best", "checkpoints/last.ckpt", "last")
    assert ["lr", "0.002"] in tables["Hyperparameters"]
    assert {"Python", "torch", "lt", "Platform", "CPU cores", "Command"} <= {row[0] for row in tables["Environment"]}
    assert "Warnings" not in tables
    assert demo.ask("document.querySelector('.status').textContent") == "finished"


def test_the_learning_rate_the_speed_and_the_warnings_of_a_run_are_seen(window, runs):
    show(window, runs / "version_1" / "report.html")
    drawn = window.ask(DRAWN)
    assert list(drawn) == ["loss", "acc", "learning rate", "steps_per_sec"]
    assert all(drawn[name][0]["length"] > 100 for name in drawn)
    [[warning, count]] = window.ask(TABLES)["Warnings"]
    assert warning.startswith("UserWarning: the lamp <b>flickers</b>\n")
    assert count == "1 time"
    assert "1 warning" in window.ask("document.querySelector('header').innerText")
    assert is_clean(window)


@pytest.mark.parametrize("width", [360, 768, 1280, 1920])
def test_nothing_runs_out_of_the_window_and_the_axes_can_be_read(window, runs, width):
    show(window, runs / "version_0" / "report.html", width)
    assert window.ask("document.documentElement.scrollWidth - innerWidth") <= 0
    assert window.ask(OUTSIDE) == 0
    assert window.ask(SMALLEST_TEXT) >= 8
    tops = window.ask("[...document.querySelectorAll('figure')].map(figure => figure.offsetTop)")
    assert tops.count(tops[0]) == {360: 1, 768: 1, 1280: 2, 1920: 3}[width]


def test_the_pointer_shows_the_values_below_it(demo):
    x, y = demo.ask(
        "(box => [box.left + box.width * .6, box.top + box.height / 2])"
        "(document.querySelector('svg').getBoundingClientRect())"
    )
    demo.hover(x, y)
    told = demo.ask("document.querySelector('.tip').innerText")
    assert re.fullmatch(r"step \d+\ntrain0\.\d+( at \d+)?\nvalidation0\.\d+( at \d+)?", told)
    assert demo.ask("document.querySelectorAll('.cursor').length") == len(demo.ask(DRAWN))
    assert demo.ask("document.querySelectorAll('svg')[0].querySelectorAll('.spot').length") == 2
    demo.hover(5, 5)
    assert demo.ask("document.querySelector('.tip').hidden && document.querySelectorAll('.spot').length === 0")


def test_a_click_changes_the_scale(demo):
    seen = "['lin', 'log'].map(name => document.querySelector(`figure .${name}`).getBoundingClientRect().width > 0)"
    before = demo.ask(seen)
    x, y = demo.ask(
        "(box => [box.left + box.width / 2, box.top + box.height / 2])"
        "(document.querySelector('figure label').getBoundingClientRect())"
    )
    demo.click(x, y)
    assert sorted(before) == [False, True]
    assert demo.ask(seen) == before[::-1]


def test_who_likes_dark_pages_gets_one(demo):
    colours = "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
    page, ink = demo.ask(colours)
    demo.prefer("dark")
    dark_page, dark_ink = demo.ask(colours)
    assert sum(map(int, re.findall(r"\d+", page))) > 700 > 100 > sum(map(int, re.findall(r"\d+", dark_page)))
    assert sum(map(int, re.findall(r"\d+", ink))) < 150 < 600 < sum(map(int, re.findall(r"\d+", dark_ink)))


def test_a_comparison_shows_each_run_in_its_colour(window, runs, tmp_path):
    done = lt_cli("report", runs / "version_0", runs / "version_1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    show(window, tmp_path / "comparison.html")
    drawn = window.ask(DRAWN)
    assert {"val_loss", "val_acc", "train_loss", "steps_per_sec", "lr-SGD"} <= set(drawn)
    one, other, *rings = drawn["val_loss"]
    assert (one["label"], other["label"]) == ("version_0", "version_1")
    assert one["colour"] != other["colour"]
    assert [(ring["is_inside"], ring["colour"]) for ring in rings] == [(True, x["colour"]) for x in (one, other)]
    results, hparams = window.ask("[...document.querySelectorAll('table')].map(t => t.innerText)")
    assert results.count("finished") == 2
    assert "width\t16\t4" in hparams
    assert is_clean(window)


def test_what_users_name_stays_text(window, tmp_path):
    table = CSVLogger(tmp_path, name="runs")
    page = HTMLLogger(tmp_path, name="runs").beside(table)
    for step in range(3):
        for logger in (table, page):
            logger.log_metrics({f"val_{HOSTILE}": float(step)}, step)
    page.log_hyperparams({HOSTILE: HOSTILE})
    page.experiment.run.warnings[(HOSTILE, HOSTILE)] = 1
    page.finalize(HOSTILE)
    table.finalize("success")
    show(window, Path(page.log_dir) / "report.html")
    assert HOSTILE[:60] in window.ask("document.body.innerText")
    assert window.ask("window.hacked") is None
    assert is_clean(window)


def test_a_run_that_goes_on_shows_how_far_it_is(window, tmp_path):
    logger = HTMLLogger(tmp_path)
    head = "document.querySelector('header').innerText"
    for epoch in range(3):
        logger.log_metrics({"val_loss": 1 / (epoch + 1), "epoch": epoch}, 10 * epoch + 10)
        logger.experiment.write()
        show(window, Path(logger.log_dir) / "report.html")
        assert "running" in window.ask(head)
        assert f"{10 * epoch + 10} steps" in window.ask(head)
    logger.finalize("success")
    show(window, Path(logger.log_dir) / "report.html")
    assert "finished" in window.ask(head)
    assert window.ask("document.querySelector('meta[http-equiv=refresh]')") is None


def test_the_page_of_tensorboard_draws_the_curves_of_the_demo(window, runs, tmp_path):
    shutil.copytree(runs / "version_0", tmp_path / "demo")
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", tmp_path, "--host", "127.0.0.1", "--port", "0"]
    server = subprocess.Popen(map(str, command), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    try:
        assert server.stderr is not None
        address = next(found[0] for line in server.stderr if (found := re.search(r"http://127\.0\.0\.1:\d+/", line)))
        window.resize(1280, 900)
        window.open(f"{address}?tagFilter=train_loss|val_#timeseries")
        window.wait_for(f"Object.values({CURVES}).filter(lengths => lengths.length > 0).length === 3")
        drawn = window.ask(CURVES)
        assert set(drawn) == {"train_loss", "val_loss", "val_acc"}
        assert all(length > 50 for lengths in drawn.values() for length in lengths)
        said = "[...document.querySelectorAll('scalar-card')].find(c => c.innerText.startsWith('val_loss')).innerText"
        window.wait_for(f"{said}.includes('320')")
        value = re.search(r"demo\s+[\d.]+\s+([\d.]+)\s+320", window.ask(said))
        assert value is not None
        assert float(value[1]) == pytest.approx(last_val_loss(runs / "version_0" / "metrics.csv"), abs=1e-4)
        assert all(url.startswith((address, "data:", "blob:")) for url in window.requests)
    finally:
        server.kill()
        server.wait()
        server.stderr.close()
