"""Checkpoints in an object store: a real S3 server on this machine, and connections that break."""

import itertools
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lt as L
import lt_checkpoint
import pytest
import torch
from faulty import Data, Model
from lt_accel import FSDPStrategy
from lt_checkpoint.__main__ import main

pytest.importorskip("s3fs")
server = pytest.importorskip("moto.server")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")

QUIET: dict[str, Any] = {
    "accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False,
}  # fmt: skip

NUMBERS = itertools.count()


class Plain(Model):
    def configure_callbacks(self) -> list[Any]:
        return []


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, int]]:
    started = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    started.start()
    yield started.get_host_and_port()
    started.stop()


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Points s3fs to a server, by the environment alone."""

    def point(host: str, port: int) -> None:
        import s3fs

        s3fs.S3FileSystem.clear_instance_cache()
        given = {"ENDPOINT_URL": f"http://{host}:{port}", "ACCESS_KEY_ID": "x", "SECRET_ACCESS_KEY": "x"}
        for name, value in (given | {"DEFAULT_REGION": "us-east-1", "MAX_ATTEMPTS": "1"}).items():
            monkeypatch.setenv(f"AWS_{name}", value)

    monkeypatch.chdir(tmp_path)
    return point


@pytest.fixture
def bucket(address: tuple[str, int], settings: Any) -> str:
    import boto3

    settings(*address)
    name = f"bucket-{next(NUMBERS)}"
    boto3.client("s3").create_bucket(Bucket=name)
    return f"s3://{name}"


def keys(bucket: str) -> list[str]:
    import boto3

    found = boto3.client("s3").list_objects_v2(Bucket=bucket.removeprefix("s3://")).get("Contents", [])
    return sorted(entry["Key"] for entry in found)


def test_a_checkpoint_goes_there_and_back(bucket: str):
    state = {"global_step": 2, "w": torch.arange(3_000_000.0)}
    lt_checkpoint.save(state, f"{bucket}/run/step=2.ckpt")
    assert torch.equal(lt_checkpoint.load(f"{bucket}/run/step=2.ckpt")["w"], state["w"])
    lt_checkpoint.link(f"{bucket}/run/step=2.ckpt", f"{bucket}/run/last.ckpt")
    lt_checkpoint.save({"global_step": 3}, f"{bucket}/run/step=3.ckpt")
    found, skipped = lt_checkpoint.last_good(lt_checkpoint.newest(f"{bucket}/run"))
    assert (found, skipped) == (f"{bucket}/run/step=3.ckpt", {})
    lt_checkpoint.remove(found)
    assert keys(bucket) == ["run/last.ckpt", "run/step=2.ckpt"]


@pytest.mark.parametrize("plugins", [None, [lt_checkpoint.AsyncCheckpointIO()]], ids=["at once", "background"])
def test_a_run_keeps_its_checkpoints_there_and_continues_from_them(bucket: str, tmp_path: Path, plugins: Any):
    def trainer(epochs: int) -> L.Trainer:
        saver = L.callbacks.ModelCheckpoint(f"{bucket}/run", save_last=True)
        return L.Trainer(max_epochs=epochs, callbacks=[saver], plugins=plugins, **QUIET)

    first = trainer(3)
    first.fit(Plain(), datamodule=Data())
    assert keys(bucket) == ["run/epoch=2-step=6.ckpt", "run/last.ckpt"]
    second = trainer(4)
    second.fit(Plain(), datamodule=Data(), ckpt_path=f"{bucket}/run/last.ckpt")
    assert second.global_step == 8
    assert keys(bucket) == ["run/epoch=3-step=8.ckpt", "run/last.ckpt"]
    second.validate(ckpt_path="best", datamodule=Data(), verbose=False)
    Plain.load_from_checkpoint(f"{bucket}/run/last.ckpt")
    assert os.listdir(tmp_path) == ["trained"]


@pytest.mark.parametrize("plugins", [None, [lt_checkpoint.AsyncCheckpointIO()]], ids=["at once", "background"])
def test_ranks_send_their_shards_there_and_go_on_from_them(bucket: str, tmp_path: Path, plugins: Any):
    def fit(epochs: int, ckpt_path: str | None = None) -> None:
        saver = L.callbacks.ModelCheckpoint(f"{bucket}/run", save_last=True)
        strategy = FSDPStrategy(state_dict_type="sharded", start_method="fork")
        trainer = L.Trainer(
            max_epochs=epochs, callbacks=[saver], plugins=plugins, devices=2, strategy=strategy, **QUIET
        )  # fmt: skip
        trainer.fit(Plain(), datamodule=Data(), ckpt_path=ckpt_path)

    fit(2)
    assert {key.split("/")[1] for key in keys(bucket)} == {"epoch=1-step=2.ckpt", "last.ckpt"}
    fit(3, f"{bucket}/run/last.ckpt")
    assert main(["consolidate", f"{bucket}/run/last.ckpt", str(tmp_path / "one.ckpt")]) == 0
    assert lt_checkpoint.load(tmp_path / "one.ckpt")["global_step"] == 3
    shard, *_ = [key for key in keys(bucket) if key.startswith("run/last.ckpt/__")]
    lt_checkpoint.remove(f"{bucket}/{shard}")
    assert main(["verify", f"{bucket}/run/last.ckpt"]) == 1


def test_an_exception_while_parts_are_sent_leaves_nothing_to_see(bucket: str):
    import boto3

    def send() -> None:
        with lt_checkpoint.atomic_write(f"{bucket}/x.ckpt") as file:
            for _ in range(12):
                file.write(b"x" * 10_000_000)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        send()
    assert keys(bucket) == []
    assert "Uploads" not in boto3.client("s3").list_multipart_uploads(Bucket=bucket.removeprefix("s3://"))


class Cut:
    """Passes bytes on to a server until it has passed so many; then every connection is dead."""

    def __init__(self, target: tuple[str, int], passes: int) -> None:
        self.target, self.left = target, passes
        self.door = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self) -> tuple[str, int]:
        return self.door.getsockname()

    def _accept(self) -> None:
        while True:
            try:
                inner, _ = self.door.accept()
            except OSError:
                return
            outer = socket.create_connection(self.target)
            for pair in ((inner, outer), (outer, inner)):
                threading.Thread(target=self._pass, args=(*pair, pair[0] is inner), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, counts: bool) -> None:
        try:
            while self.left > 0 and (data := source.recv(65536)):
                self.left -= len(data) * counts
                if self.left > 0:
                    sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            end.close()


@pytest.mark.parametrize("passes", [300, 3_000_000, 9_000_000])
def test_a_connection_that_breaks_is_an_error_and_the_older_file_stays(
    bucket: str, address: tuple[str, int], settings: Any, passes: int
):
    lt_checkpoint.save({"step": 1}, f"{bucket}/x.ckpt")
    cut = Cut(address, passes)
    settings(*cut.address)
    with pytest.raises(OSError, match=r"."):
        lt_checkpoint.save({"step": 2, "w": torch.zeros(3_000_000)}, f"{bucket}/x.ckpt")
    cut.door.close()
    settings(*address)
    assert lt_checkpoint.load(f"{bucket}/x.ckpt") == {"step": 1}
    assert keys(bucket) == ["x.ckpt"]


def test_a_bucket_that_is_not_there_is_named(bucket: str):
    with pytest.raises(OSError, match="no-such-bucket"):
        lt_checkpoint.save({"step": 1}, "s3://no-such-bucket/x.ckpt")
