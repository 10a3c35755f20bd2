import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lt_interfaces.whole_file import replacing, write_text


def test_folders_are_made_and_nothing_else_is_left(tmp_path):
    write_text(f"{tmp_path}/a/b/notes.txt", "one\n")
    assert [path.name for path in (tmp_path / "a/b").iterdir()] == ["notes.txt"]
    assert (tmp_path / "a/b/notes.txt").read_text() == "one\n"


def test_a_bare_name_is_written_into_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_text("notes.txt", "here")
    assert (tmp_path / "notes.txt").read_text() == "here"


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_file_whose_writing_fails_stays_as_it_was(tmp_path, error):
    def fail():
        with replacing(tmp_path / "notes.txt") as file:
            file.write("half")
            raise error

    write_text(tmp_path / "notes.txt", "before")
    with pytest.raises(type(error)):
        fail()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"notes.txt": "before"}


def test_the_new_text_is_not_seen_before_it_is_whole(tmp_path):
    write_text(tmp_path / "notes.txt", "before")
    with replacing(tmp_path / "notes.txt") as file:
        file.write("after")
        file.flush()
        assert (tmp_path / "notes.txt").read_text() == "before"
    assert (tmp_path / "notes.txt").read_text() == "after"


def test_a_new_file_has_the_mode_less_the_umask_and_an_old_one_keeps_its_own(tmp_path):
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "new", "")
        write_text(tmp_path / "private", "", 0o600)
        (tmp_path / "old").touch()
        (tmp_path / "old").chmod(0o644)
        write_text(tmp_path / "old", "")
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"new": 0o640, "private": 0o600, "old": 0o644}


@given(st.text(st.characters(codec="utf-8", exclude_characters="\r")))
def test_any_text_comes_back(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("texts") / "text"
    write_text(path, text)
    assert path.read_text(encoding="utf-8") == text
