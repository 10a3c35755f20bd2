"""Files are whole or absent: at every line where a writer may die, with every error it may meet."""

import errno
import os
import resource
import stat
import subprocess
import sys

import pytest
from lt_checkpoint import atomic_write, link, write_text

KILL_AT_EACH_LINE = """
import os, signal, sys
from lt_checkpoint import load, save
path, lines, old, new = sys.argv[1], 0, {"step": 1}, {"step": 2}

def kill_at(n):
    def trace(frame, event, arg):
        global lines
        if frame.f_globals.get("__name__", "") not in ("lt_checkpoint.writing", "lt_checkpoint.saving"):
            return None
        lines += event == "line"
        if lines == n:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace
    sys.settrace(trace)

save(old, path)
for n in range(1, 500):
    child = os.fork()
    if child == 0:
        kill_at(n)
        save(new, path)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert load(path) in (old, new), n
    if os.WIFEXITED(status):
        break
assert 30 < n < 499 and load(path) == new, n
save(new, path)
assert os.listdir(os.path.dirname(path)) == [os.path.basename(path)]
"""


def write_then_raise(path, data, error=None):
    with atomic_write(path) as file:
        file.write(data[:50_000])
        file.write(data[50_000:])
        if error is not None:
            raise error


@pytest.fixture
def file_limit():
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_file_appears_with_its_folders_when_the_block_ends(tmp_path):
    path = tmp_path / "a" / "b" / "c.bin"
    with atomic_write(path) as file:
        file.write(b"new")
        assert not path.exists()
    assert path.read_bytes() == b"new"
    assert os.listdir(path.parent) == ["c.bin"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, MemoryError])
def test_an_exception_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "x"
    path.write_bytes(b"old")
    with pytest.raises(error):
        write_then_raise(path, b"new" * 1_000_000, error)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["x"]


def test_a_writer_killed_at_any_line_leaves_the_old_or_the_new_file(tmp_path):
    command = [sys.executable, "-c", KILL_AT_EACH_LINE, str(tmp_path / "last.ckpt")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, file_limit):
    path = tmp_path / "x"
    path.write_bytes(b"old")
    file_limit(100_000)
    with pytest.raises(OSError) as caught:
        write_then_raise(path, b"n" * 110_000)
    assert caught.value.errno == errno.EFBIG
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["x"]


def test_too_little_space_is_said_before_anything_is_written(tmp_path):
    with pytest.raises(OSError, match=r"needs 1,000,000,000,000,000,000 bytes and .* are free") as caught:
        with atomic_write(tmp_path / "x", needs_bytes=10**18):
            pytest.fail("the block must not run")
    assert caught.value.errno == errno.ENOSPC
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o000, 0o666)])
def test_permissions_are_what_the_umask_gives(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        with atomic_write(tmp_path / "x") as file:
            assert stat.S_IMODE(os.fstat(file.fileno()).st_mode) == 0o600
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == mode


def test_stricter_permissions_of_the_file_replaced_are_kept(tmp_path):
    path = tmp_path / "x"
    path.touch(mode=0o600)
    write_text(path, "new")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_link_is_replaced_and_what_it_points_to_is_not_touched(tmp_path):
    (tmp_path / "precious").write_text("old")
    (tmp_path / "link").symlink_to("precious")
    write_text(tmp_path / "link", "new")
    assert not (tmp_path / "link").is_symlink()
    assert (tmp_path / "precious").read_text() == "old"


def test_a_hard_link_to_the_file_keeps_the_old_text(tmp_path):
    (tmp_path / "x").write_text("old")
    os.link(tmp_path / "x", tmp_path / "y")
    write_text(tmp_path / "x", "new")
    assert (tmp_path / "y").read_text() == "old"


def test_a_folder_or_a_pipe_in_the_way_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="A device, pipe or socket is in the way"):
        write_text(tmp_path / "pipe", "x")
    with pytest.raises(IsADirectoryError, match="A folder is in the way"):
        write_text(tmp_path, "x")
    assert os.listdir(tmp_path) == ["pipe"]


def test_what_a_killed_writer_left_is_removed_and_a_live_writers_file_is_not(tmp_path):
    (tmp_path / ".lt-0123456789abcdef.tmp").write_text("left behind")
    (tmp_path / ".lt-mine.tmp").write_text("somebody else's")
    with atomic_write(tmp_path / "slow") as file:
        file.write(b"slow")
        write_text(tmp_path / "fast", "fast")
    assert sorted(os.listdir(tmp_path)) == [".lt-mine.tmp", "fast", "slow"]


def test_the_file_lands_where_it_was_opened_even_if_the_folder_is_swapped(tmp_path):
    folder, elsewhere = tmp_path / "runs", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    with atomic_write(folder / "x") as file:
        file.write(b"new")
        folder.rename(tmp_path / "moved")
        folder.symlink_to(elsewhere)
    assert (tmp_path / "moved" / "x").read_bytes() == b"new"
    assert os.listdir(elsewhere) == []


def test_text_is_written_in_utf8_with_its_line_ends(tmp_path):
    write_text(tmp_path / "x", "gr\u00fc\u00df\r\n")
    assert (tmp_path / "x").read_bytes() == "gr\u00fc\u00df\r\n".encode()


def test_data_is_on_disk_before_the_rename_and_the_name_after_it(tmp_path):
    calls = tmp_path / "calls"
    code = f"from lt_checkpoint import write_text; write_text({str(tmp_path / 'x')!r}, 'new')"
    command = ["strace", "-f", "-o", str(calls), "-e", "trace=fsync,/^rename", sys.executable, "-c", code]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip("strace is not there or not allowed")
    names = [line.split("(")[0].split()[-1] for line in calls.read_text().splitlines() if "= 0" in line]
    assert [name[:6] for name in names[-3:]] == ["fsync", "rename", "fsync"]


def test_a_link_is_a_second_name_that_outlives_the_first(tmp_path):
    write_text(tmp_path / "a", "new")
    write_text(tmp_path / "b", "old")
    link(tmp_path / "a", tmp_path / "b")
    link(tmp_path / "a", tmp_path / "b")
    (tmp_path / "a").unlink()
    assert (tmp_path / "b").read_text() == "new"
    assert [f.name for f in tmp_path.iterdir()] == ["b"]


def test_a_link_to_another_file_system_is_a_copy(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.EXDEV, "other file system")

    monkeypatch.setattr(os, "link", refuse)
    write_text(tmp_path / "a", "new")
    link(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_text() == "new"
