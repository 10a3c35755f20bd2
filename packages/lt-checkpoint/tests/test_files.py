"""Finding, ordering and removing checkpoints."""

import os
import shutil

import pytest
from lt_checkpoint import CorruptCheckpoint, exists, last_good, newest, remove, save


def sharded(folder):
    folder.mkdir()
    for name in (".metadata", "__0_0.distcp", "meta.pt"):
        (folder / name).write_bytes(b"x")
    return folder


def test_a_removed_file_is_gone_and_a_missing_one_is_fine(tmp_path):
    save({}, tmp_path / "x.ckpt")
    assert exists(tmp_path / "x.ckpt")
    remove(tmp_path / "x.ckpt")
    remove(tmp_path / "x.ckpt")
    assert not exists(tmp_path / "x.ckpt")


def test_a_sharded_folder_is_removed_whole(tmp_path):
    folder = sharded(tmp_path / "x.ckpt")
    assert exists(folder)
    remove(folder)
    assert not folder.exists()


def test_what_a_kill_left_of_a_removal_goes_with_the_next_one(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda *_, **__: None)
        remove(sharded(tmp_path / "x.ckpt"))
    assert len(os.listdir(tmp_path)) == 1
    assert newest(tmp_path) == []
    remove(sharded(tmp_path / "y.ckpt"))
    assert os.listdir(tmp_path) == []


def test_a_folder_that_is_no_checkpoint_stays(tmp_path):
    folder = sharded(tmp_path / "x")
    (folder / "thesis.tex").touch()
    with pytest.raises(ValueError, match=r"it holds `thesis\.tex`"):
        remove(folder)
    with pytest.raises(ValueError, match="is not a sharded checkpoint"):
        remove(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"it has no `meta\.pt`"):
        remove(tmp_path / "empty")
    assert len(os.listdir(folder)) == 4


def test_a_link_is_removed_and_its_target_stays(tmp_path):
    folder = sharded(tmp_path / "x")
    (tmp_path / "link").symlink_to(folder)
    remove(tmp_path / "link")
    assert exists(folder)
    assert not (tmp_path / "link").is_symlink()


def test_the_newest_is_by_step_in_name_or_file_and_never_by_clock(tmp_path):
    names = ["epoch=0-step=9.ckpt", "epoch=1-step=10.ckpt", "epoch=1-step=10-v1.ckpt"]
    for i, name in enumerate(names):
        save({"global_step": 0}, tmp_path / name)
        os.utime(tmp_path / name, (1000 - i, 1000 - i))
    save({"global_step": 12}, tmp_path / "last.ckpt")
    os.utime(tmp_path / "last.ckpt", (1, 1))
    save({"no": "step"}, tmp_path / "weights.ckpt")
    assert [path.name for path in newest(tmp_path)] == ["last.ckpt", *reversed(names), "weights.ckpt"]
    assert newest(tmp_path / "nowhere") == []


def test_the_last_good_one_is_found_past_a_broken_newer_one_with_the_reason(tmp_path):
    save({"global_step": 1}, tmp_path / "a.ckpt")
    (tmp_path / "last.ckpt").write_bytes(b"")
    path, skipped = last_good(newest(tmp_path))
    assert path == tmp_path / "a.ckpt"
    assert list(skipped) == [str(tmp_path / "last.ckpt")]
    assert "it is empty" in skipped[str(tmp_path / "last.ckpt")]


def test_if_none_is_good_one_error_names_all_that_were_tried(tmp_path):
    (tmp_path / "a.ckpt").write_bytes(b"PK\3\4")
    with pytest.raises(CorruptCheckpoint, match=r"(?s)a\.ckpt.*truncated.*b\.ckpt"):
        last_good([tmp_path / "a.ckpt", tmp_path / "b.ckpt"])
    with pytest.raises(FileNotFoundError, match="no checkpoint to choose from"):
        last_good([])
