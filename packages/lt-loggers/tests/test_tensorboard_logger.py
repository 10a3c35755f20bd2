import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import lt_interfaces
import pytest
from lt_loggers import TensorBoardLogger, load_hparams_from_yaml

torch = pytest.importorskip("torch")
accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")


def events_of(folder):
    events = accumulators.EventAccumulator(str(folder))
    events.Reload()
    return events


def points(events, tag):
    return [(point.step, point.value) for point in events.Scalars(tag)]


def test_scalars_are_on_one_step_axis_also_without_a_step(tmp_path):
    logger: lt_interfaces.Logger = TensorBoardLogger(tmp_path)
    assert isinstance(logger, lt_interfaces.Logger)
    logger.log_metrics({"loss": torch.tensor(0.5), "epoch": 0}, 4)
    logger.log_metrics({"loss": 0.25})
    logger.log_metrics({"loss": 0.125, "step": 9})
    logger.finalize("success")
    events = events_of(tmp_path / "lightning_logs/version_0")
    assert points(events, "loss") == [(4, 0.5), (5, 0.25), (9, 0.125)]
    assert sorted(events.Tags()["scalars"]) == ["epoch", "loss"]


def test_making_a_logger_writes_nothing_and_imports_no_torch(tmp_path):
    code = "import sys; sys.modules['torch'] = None; from lt_loggers import TensorBoardLogger\n"
    code += f"logger = TensorBoardLogger({str(tmp_path / 'logs')!r})\n"
    code += "try: logger.experiment\nexcept ImportError as error: print(error)"
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert 'pip install "lt-loggers[tensorboard]"' in output
    assert not (tmp_path / "logs").exists()


def test_nested_metrics_become_curves_that_stay_in_the_folder(tmp_path):
    logger = TensorBoardLogger(tmp_path / "logs", version=0)
    logger.log_metrics({"loss": {"train": 1.0, "/../../../../out": 2.0}}, 3)
    logger.finalize("success")
    run = tmp_path / "logs/lightning_logs/version_0"
    assert points(events_of(run / "loss_train"), "loss") == [(3, 1.0)]
    assert points(events_of(run / "loss__.._.._.._.._out"), "loss") == [(3, 2.0)]
    assert os.listdir(tmp_path) == ["logs"]


def test_prefix_leads_and_tags_are_printable(tmp_path):
    logger = TensorBoardLogger(tmp_path, name="", version="", prefix="run", sub_dir="sub")
    assert logger.sub_dir == "sub"
    logger.log_metrics({"a\x1b[2J\n": 1.0}, 0)
    logger.finalize("success")
    assert events_of(tmp_path / "sub").Tags()["scalars"] == ["run-a\\x1b[2J\\n"]


@pytest.mark.parametrize(
    ("default", "metrics", "tags"),
    [
        (True, None, {"hp_metric": -1.0}),
        (False, None, {}),
        (True, 0.5, {"hp_metric": 0.5}),
        (False, {"hp/acc": 0.75}, {"hp/acc": 0.75}),
    ],
)
def test_hyperparameters_are_listed_with_their_metric(tmp_path, default, metrics, tags):
    logger = TensorBoardLogger(tmp_path, name="", version="", default_hp_metric=default)
    logger.log_hyperparams(
        {"model": {"width": 8, "act": "re\nlu"}, "api_key": "CANARY", "on": True, "of": [1]}, metrics
    )
    logger.finalize("success")
    events = events_of(tmp_path)
    assert {tag: points(events, tag)[0][1] for tag in events.Tags()["scalars"]} == tags
    shown = events.summary_metadata.get("_hparams_/session_start_info")
    assert (shown is not None) == bool(tags)
    assert shown is None or (b"model/width" in shown.plugin_data.content and b"re\\nlu" in shown.plugin_data.content)
    assert not any(b"CANARY" in path.read_bytes() for path in tmp_path.iterdir())
    assert load_hparams_from_yaml(tmp_path / "hparams.yaml")["model"] == {"width": 8, "act": "re\nlu"}


def test_logging_after_the_end_goes_on_in_the_same_run(tmp_path):
    logger = TensorBoardLogger(tmp_path, purge_step=5)
    logger.log_metrics({"loss": 1.0}, 5)
    logger.finalize("success")
    logger.log_metrics({"loss": 2.0}, 6)
    logger.finalize("success")
    assert points(events_of(logger.log_dir), "loss") == [(5, 1.0), (6, 2.0)]


def test_saving_makes_the_points_readable_and_a_program_that_just_ends_loses_none(tmp_path):
    code = f"from lt_loggers import TensorBoardLogger; logger = TensorBoardLogger({str(tmp_path)!r})\n"
    code += "for step in range(5): logger.log_metrics({'a': step}, step); logger.save()"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert len(points(events_of(tmp_path / "lightning_logs/version_0"), "a")) == 5


def test_the_graph_is_written_and_training_stays_as_it_was(tmp_path):
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2), torch.nn.Dropout())
    model[1].eval()
    before = torch.get_rng_state()
    logger = TensorBoardLogger(tmp_path, log_graph=True)
    logger.log_graph(model, torch.zeros(3, 2))
    logger.finalize("success")
    assert events_of(logger.log_dir).Tags()["graph"]
    assert [part.training for part in model] == [True, False, True]
    assert model[1].num_batches_tracked == 0
    assert torch.equal(before, torch.get_rng_state())


def test_a_graph_is_neither_traced_unasked_nor_a_reason_to_fail(tmp_path):
    TensorBoardLogger(tmp_path).log_graph(torch.nn.Linear(2, 2), torch.zeros(1, 2))
    assert list(tmp_path.iterdir()) == []
    logger = TensorBoardLogger(tmp_path, log_graph=True)
    with pytest.warns(UserWarning, match="no example input"):
        logger.log_graph(SimpleNamespace())
    with pytest.warns(UserWarning, match="could not be traced"):
        logger.log_graph(torch.nn.Linear(2, 2), torch.zeros(1, 3))
    logger.finalize("success")


def test_other_ranks_write_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "3")
    logger = TensorBoardLogger(tmp_path, log_graph=True)
    logger.log_metrics({"loss": 1.0, "both": {"a": 1}})
    logger.log_hyperparams({"lr": 0.1})
    logger.log_graph(torch.nn.Linear(2, 2), torch.zeros(1, 2))
    logger.experiment.add_text("a", "b")
    logger.save()
    logger.finalize("success")
    assert list(Path(tmp_path).iterdir()) == []


def test_arguments_of_the_writer_are_checked_when_the_logger_is_made(tmp_path):
    with pytest.raises(TypeError, match="Did you mean `flush_secs`"):
        TensorBoardLogger(tmp_path, flush_sec=3)
    with pytest.raises(ValueError, match="`filename_suffix` must be part of a file's name"):
        TensorBoardLogger(tmp_path, filename_suffix="/../x")


def test_a_figure_reads_back_as_an_image(tmp_path):
    figures = pytest.importorskip("matplotlib.figure")
    logger = TensorBoardLogger(tmp_path)
    logger.experiment.add_figure("figure", figures.Figure(), 4)
    logger.finalize("success")
    (image,) = events_of(logger.log_dir).Images("figure")
    assert (image.step, image.width > 0) == (4, True)


def test_texts_images_and_histograms_read_back(tmp_path):
    logger = TensorBoardLogger(tmp_path)
    logger.experiment.add_text("said", "hello", 1)
    logger.experiment.add_histogram("weights", torch.arange(10.0), 2)
    logger.experiment.add_image("image", torch.zeros(3, 4, 5), 3)
    kinds = {"images": ["image"], "histograms": ["weights"], "tensors": ["said/text_summary"]}
    logger.finalize("success")
    events = events_of(logger.log_dir)
    assert {kind: events.Tags()[kind] for kind in kinds} == kinds
    assert events.Histograms("weights")[0].histogram_value.num == 10
    image = events.Images("image")[0]
    assert (image.step, image.height, image.width) == (3, 4, 5)
    assert events.Tensors("said/text_summary")[0].tensor_proto.string_val == [b"hello"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_folder_that_goes_away_costs_events_and_not_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr("lt_loggers.tensorboard_logger.FLUSH_SECONDS", 0.0)
    monkeypatch.setattr("lt_loggers.tensorboard_logger.RETRY_SECONDS", 0.0)
    others = threading.enumerate()
    logger = TensorBoardLogger(tmp_path / "logs", version=0)
    logger.log_metrics({"loss": 1.0}, 0)
    logger.save()
    shutil.rmtree(tmp_path / "logs")
    logger.log_metrics({"loss": 2.0}, 1)
    with pytest.warns(UserWarning, match="Make room; the run goes on"):
        logger.save()
    for writing in {*threading.enumerate()}.difference(others):
        writing.join()
    logger.log_metrics({"loss": 3.0}, 2)
    logger.finalize("success")
    assert points(events_of(tmp_path / "logs/lightning_logs/version_0"), "loss") == [(2, 3.0)]


def test_a_folder_that_cannot_be_made_is_said_at_once(tmp_path):
    (tmp_path / "logs").write_text("a file")
    with pytest.raises(FileExistsError):
        TensorBoardLogger(tmp_path / "logs", name="", version="").log_metrics({"loss": 1.0}, 0)
