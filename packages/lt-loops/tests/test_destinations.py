"""Folders that cannot be written are refused before anything runs."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from lt_loops.destinations import check_folders


def trainer(root: Path, save_dir: Path | None = None, dirpath: Path | None = None, dry: bool = False):
    loggers = [SimpleNamespace(save_dir=save_dir)] if save_dir else []
    keeper = SimpleNamespace(best_model_path="", dirpath=dirpath)
    return SimpleNamespace(default_root_dir=str(root), loggers=loggers, checkpoint_callbacks=[keeper], fast_dev_run=dry)


@pytest.fixture
def blocked(tmp_path: Path) -> Path:
    """A folder that a file is in the way of."""
    (tmp_path / "file").touch()
    return tmp_path / "file" / "runs"


def test_folders_that_do_not_exist_yet_are_fine_and_not_made(tmp_path):
    check_folders(trainer(tmp_path / "a/b", tmp_path / "c", tmp_path / "d/e"), "fit")
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_way_is_named_with_what_to_change(blocked, tmp_path):
    with pytest.raises(NotADirectoryError, match=r"file is a file\. Choose another `save_dir` of the"):
        check_folders(trainer(tmp_path, save_dir=blocked), "test")
    with pytest.raises(NotADirectoryError, match=r"Choose another `dirpath` of the"):
        check_folders(trainer(tmp_path, dirpath=blocked), "fit")
    with pytest.raises(NotADirectoryError, match=r"Choose another `default_root_dir`\."):
        check_folders(trainer(blocked), "fit")


def test_a_folder_that_nothing_goes_to_is_not_looked_at(blocked, tmp_path):
    check_folders(trainer(blocked, save_dir=tmp_path), "fit")
    check_folders(trainer(blocked), "predict")
    check_folders(trainer(blocked, dry=True), "fit")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="everything is writable for this user")
def test_a_folder_without_permission_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError, match="is not writable"):
        check_folders(trainer(tmp_path / "runs"), "fit")
