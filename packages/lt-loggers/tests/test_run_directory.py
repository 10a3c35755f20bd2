import os
import subprocess
import sys
from pathlib import Path

import pytest
from lt_loggers import CSVLogger, TensorBoardLogger

HOSTILE = [
    "..",
    "../x",
    "a/../../b",
    "/etc",
    "//host/share",
    "C:\\x",
    "..\\x",
    "a\\..\\..\\b",
    "a\0b",
    "a\nb",
    "\x1b[2J",
    "a\u202eb",
]


def test_versions_go_on_after_the_highest_and_are_chosen_once(tmp_path):
    for name in ("version_3", "version_x", "other"):
        (tmp_path / "lightning_logs" / name).mkdir(parents=True)
    logger = CSVLogger(tmp_path)
    assert logger.version == 4
    assert logger.version == 4
    assert CSVLogger(tmp_path).version == 5
    assert logger.log_dir == str(tmp_path / "lightning_logs/version_4")


def test_runs_started_together_get_different_versions(tmp_path):
    code = "import sys; from lt_loggers import CSVLogger; print('ready', flush=True); sys.stdin.readline()\n"
    code += f"print([CSVLogger({str(tmp_path)!r}).version for _ in range(50)])"
    command = [sys.executable, "-c", code]
    runs = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for run in runs:
        assert run.stdout.readline() == "ready\n"
    for run in runs:
        run.stdin.write("go\n")
        run.stdin.flush()
    versions = [int(v) for run in runs for v in run.communicate()[0].strip("[]\n").split(",")]
    assert sorted(versions) == list(range(100))


@pytest.mark.parametrize(
    ("name", "version", "path"),
    [("exp", 2, "exp/version_2"), ("", "mine", "mine"), (None, 0, "version_0"), ("a/b", "x", "a/b/x"), ("e", "", "e")],
)
def test_name_and_version_make_the_folder(tmp_path, name, version, path):
    logger = CSVLogger(tmp_path, name=name, version=version)
    assert logger.log_dir == str(tmp_path / path)
    assert (logger.save_dir, logger.name, logger.version) == (str(tmp_path), name or "", version)
    assert logger.root_dir == str(tmp_path / (name or ""))


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("argument", ["name", "version", "sub_dir"])
def test_no_part_of_the_path_can_lead_out_of_the_folder(tmp_path, argument, hostile):
    with pytest.raises(ValueError, match=f"`{argument}` must stay inside `save_dir`, got"):
        TensorBoardLogger(tmp_path, **{argument: hostile})
    assert list(tmp_path.iterdir()) == []


def test_a_link_out_of_the_folder_is_refused_and_a_linked_folder_is_fine(tmp_path):
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()
    (inside / "link").symlink_to(outside)
    with pytest.raises(ValueError, match="leads out of `save_dir`"):
        CSVLogger(inside, name="link")
    assert CSVLogger(inside / "link", version=0).log_dir


@pytest.mark.parametrize("version", [-1, True])
def test_a_version_must_be_a_number_from_zero_or_a_name(tmp_path, version):
    with pytest.raises(ValueError, match=f"`version` must be .*, got {version!r}"):
        CSVLogger(tmp_path, version=version)


def test_the_folder_is_given_once_as_save_dir_or_root_dir(tmp_path):
    assert CSVLogger(root_dir=tmp_path).save_dir == TensorBoardLogger(root_dir=tmp_path).save_dir == str(tmp_path)
    with pytest.raises(TypeError, match="got neither"):
        CSVLogger()
    with pytest.raises(TypeError, match="got both"):
        CSVLogger(tmp_path, root_dir=tmp_path)


def test_home_and_environment_are_expanded_and_urls_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("RUNS", str(tmp_path))
    assert CSVLogger("$RUNS/a").save_dir == str(tmp_path / "a")
    assert CSVLogger("~").save_dir == os.path.expanduser("~")
    with pytest.raises(ValueError, match="must be a local folder, got 's3://bucket'"):
        CSVLogger("s3://bucket")


def test_a_change_of_directory_does_not_move_a_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    logger = CSVLogger("logs", version=0)
    logger.log_metrics({"a": 1})
    logger.log_metrics({"a": 2})
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    logger.finalize("success")
    assert Path(tmp_path / "logs/lightning_logs/version_0/metrics.csv").read_text().splitlines()[1:] == ["1,0", "2,1"]
