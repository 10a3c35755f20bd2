"""Addresses in the place of paths: the same promises, by way of fsspec."""

import os
import threading
from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import fsspec
import pytest
import torch
from fsspec.implementations.memory import MemoryFile, MemoryFileSystem
from lt_checkpoint import (
    AsyncCheckpointIO,
    CheckpointError,
    CorruptCheckpoint,
    UnsafeCheckpoint,
    atomic_write,
    claim,
    exists,
    inside,
    last_good,
    link,
    load,
    load_unsafe,
    newest,
    remove,
    save,
    verify,
    write_text,
)
from lt_checkpoint.paths import local, remote, shown


@pytest.fixture
def store(tmp_path):
    """The folder of a test in fsspec's memory."""
    MemoryFileSystem.store.clear()
    return f"memory://{tmp_path.name}/run"


@pytest.fixture
def web(tmp_path):
    """A server of the test's folder, on this machine only."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def names(store):
    return sorted(path.rpartition("/")[2] for path in MemoryFileSystem.store)


def test_every_function_takes_an_address(store):
    save({"global_step": 3, "w": torch.arange(5)}, f"{store}/step=3.ckpt")
    assert load(f"{store}/step=3.ckpt")["w"].tolist() == [0, 1, 2, 3, 4]
    link(f"{store}/step=3.ckpt", f"{store}/last.ckpt")
    save({"global_step": 4}, f"{store}/step=4.ckpt")
    verify(f"{store}/step=4.ckpt")
    assert newest(store) == [f"{store}/{name}.ckpt" for name in ("step=4", "step=3", "last")]
    remove(f"{store}/step=4.ckpt")
    remove(f"{store}/step=4.ckpt")
    assert [exists(f"{store}/{name}.ckpt") for name in ("step=3", "last", "step=4")] == [True, True, False]
    write_text(f"{store}/notes.txt", "ü")
    assert MemoryFileSystem().cat_file(f"{store}/notes.txt") == "ü".encode()
    assert names(store) == ["last.ckpt", "notes.txt", "step=3.ckpt"]


def test_a_checkpoint_is_linked_from_here_to_there_and_back(store, tmp_path):
    save({"step": 1}, tmp_path / "a.ckpt")
    link(tmp_path / "a.ckpt", f"{store}/b.ckpt")
    link(f"{store}/b.ckpt", tmp_path / "c.ckpt")
    assert load(tmp_path / "c.ckpt") == load(f"{store}/b.ckpt") == {"step": 1}


def test_a_file_appears_when_it_is_complete_and_an_exception_leaves_the_old_one(store):
    write_text(f"{store}/x", "old")
    with suppress(ZeroDivisionError), atomic_write(f"{store}/x") as file:
        file.write(b"new" * 1000)
        assert MemoryFileSystem().cat_file(f"{store}/x") == b"old"
        raise ZeroDivisionError
    assert MemoryFileSystem().cat_file(f"{store}/x") == b"old"
    assert names(store) == ["x"]


def test_a_store_that_keeps_less_than_it_was_sent_is_found_out(store, monkeypatch):
    def keep_half(self):
        self.truncate(len(self.getvalue()) // 2)

    monkeypatch.setattr(MemoryFile, "close", keep_half)
    with pytest.raises(OSError, match=r"was sent [\d,]+ bytes and has"):
        save({"w": torch.ones(100)}, f"{store}/x.ckpt")


def test_damage_is_found_and_the_last_good_one_is_used(store):
    for step in (1, 2):
        save({"global_step": step, "w": torch.ones(1000)}, f"{store}/step={step}.ckpt")
    content = bytearray(MemoryFileSystem().cat_file(f"{store}/step=2.ckpt"))
    content[2000] ^= 1
    MemoryFileSystem().pipe_file(f"{store}/step=2.ckpt", bytes(content))
    with pytest.raises(CorruptCheckpoint, match=r"memory://.*step=2\.ckpt.*checksum"):
        load(f"{store}/step=2.ckpt")
    path, skipped = last_good(newest(store))
    assert path == f"{store}/step=1.ckpt"
    assert list(skipped) == [f"{store}/step=2.ckpt"]


def test_a_missing_file_is_named(store):
    for read in (load, verify):
        with pytest.raises(FileNotFoundError, match=r"There is no `memory://.*/x\.ckpt`"):
            read(f"{store}/x.ckpt")
    assert newest(store) == []


def test_saves_in_the_background_reach_a_store(store):
    io = AsyncCheckpointIO()
    io.save_checkpoint({"step": 1}, f"{store}/a.ckpt")
    io.link_checkpoint(f"{store}/a.ckpt", f"{store}/b.ckpt")
    io.remove_checkpoint(f"{store}/a.ckpt")
    assert io.exists(f"{store}/b.ckpt")
    io.teardown()
    assert names(store) == ["b.ckpt"]


def test_a_web_server_is_read_through_the_same_door_and_never_written(web, tmp_path):
    save({"step": 1}, tmp_path / "x.ckpt")
    torch.save({"x": print}, tmp_path / "bad.ckpt")
    assert load(f"{web}/x.ckpt") == {"step": 1}
    assert exists(f"{web}/x.ckpt")
    with pytest.raises(UnsafeCheckpoint, match=r"http://.*bad\.ckpt.*print"):
        load(f"{web}/bad.ckpt")
    with pytest.raises(ValueError, match="code from there is never run"):
        load_unsafe(f"{web}/bad.ckpt", i_trust_this_file=True)
    with pytest.raises(ValueError, match="A web server takes no files"):
        save({}, f"{web}/new.ckpt")
    with pytest.raises(FileNotFoundError, match=r"There is no `http://.*/y\.ckpt`"):
        load(f"{web}/y.ckpt")


def test_a_server_that_is_not_there_is_an_oserror():
    with pytest.raises(OSError, match="127"):
        load("http://127.0.0.1:9/x.ckpt")
    with pytest.raises((OSError, CheckpointError)):
        last_good(["http://127.0.0.1:9/x.ckpt"])


def test_a_package_that_is_missing_or_unknown_is_named():
    with pytest.raises(ImportError, match="needs a package that is not installed"):
        load("gs://bucket/x.ckpt")
    with pytest.raises(ValueError, match="nonsense"):
        load("nonsense://bucket/x.ckpt")


@pytest.mark.parametrize("door", [claim, lambda f: inside(f, "x")])
def test_what_needs_a_folder_of_this_machine_says_so_and_writes_nothing(store, tmp_path, monkeypatch, door):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotImplementedError, match="needs a folder of this machine, got 'memory://"):
        door(store)
    assert os.listdir(tmp_path) == []


def test_addresses_of_this_machines_files_are_paths(tmp_path):
    for start in ("file://", "local://", "FILE:"):
        save({"step": 1}, f"{start}{tmp_path}/x.ckpt")
        assert local(f"{start}{tmp_path}/x.ckpt") == tmp_path / "x.ckpt"
    assert os.listdir(tmp_path) == ["x.ckpt"]


def test_an_address_survives_path_and_tells_no_secrets():
    assert remote("s3:/bucket/x") == remote("S3://bucket/x") == "s3://bucket/x"
    assert remote("a/b:c") is None
    assert shown("ftp://me:word@host/x") == "ftp://***@host/x"
    assert shown("https://host/x?Signature=word") == "https://host/x?..."
    with pytest.raises(ValueError, match="An address in another one"):
        remote("zip://x::http://host/y")


def test_fsspec_is_asked_for_stores_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(fsspec.core, "url_to_fs", None)
    save({"step": 1}, tmp_path / "x.ckpt")
    assert load(tmp_path / "x.ckpt") == {"step": 1}
