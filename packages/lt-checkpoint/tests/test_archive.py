"""Damage is found: any bit, any length, any trick with the container."""

import os
import random
import zipfile

import pytest
import torch
from lt_checkpoint import CheckpointError, CorruptCheckpoint, UnsafeCheckpoint, load, save, verify


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(0)
    model = torch.nn.Linear(40, 40)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.randn(2, 40)).sum().backward()
    optimizer.step()
    path = tmp_path / "x.ckpt"
    save({"global_step": 1, "state_dict": model.state_dict(), "optimizer_states": [optimizer.state_dict()]}, path)
    return path


def tensors_of(state):
    if isinstance(state, torch.Tensor):
        return [state]
    inner = state.values() if isinstance(state, dict) else state if isinstance(state, list | tuple) else []
    return [tensor for value in inner for tensor in tensors_of(value)]


def rewrite(path, change):
    """The same archive with other records: `change` maps a dict of name -> bytes."""
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in change(records).items():
            archive.writestr(name, data)


def test_every_flipped_bit_in_tensor_data_is_found(saved):
    whole = saved.read_bytes()
    with zipfile.ZipFile(saved) as archive:
        entries = [e for e in archive.infolist() if "/data/" in e.filename]
    spans = [(whole.index(f"/data/{i}".encode()) + 200, e.file_size - 400) for i, e in enumerate(entries)]
    draw = random.Random(0)
    for _ in range(100):
        start, length = draw.choice([span for span in spans if span[1] > 0])
        damaged = bytearray(whole)
        damaged[start + draw.randrange(length)] ^= 1 << draw.randrange(8)
        saved.write_bytes(damaged)
        with pytest.raises(CorruptCheckpoint, match=r"x\.ckpt.*does not match its checksum"):
            load(saved)


def test_a_flipped_bit_anywhere_is_found_or_changes_nothing(saved):
    whole, before = saved.read_bytes(), load(saved)
    draw = random.Random(1)
    found = 0
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
        saved.write_bytes(damaged)
        try:
            after = load(saved)
        except CheckpointError:
            found += 1
            continue
        assert after.keys() == before.keys()
        assert all(torch.equal(a, b) for a, b in zip(tensors_of(after), tensors_of(before), strict=True))
    assert found > 200


def test_zeroed_swapped_and_repeated_blocks_are_found(saved):
    whole = saved.read_bytes()
    draw = random.Random(2)
    for size in (16, 512, 4096):
        start = draw.randrange(2000, len(whole) - size - 4000)
        for block in (b"\0" * size, whole[start : start + size][::-1], whole[: size // 2] * 2):
            saved.write_bytes(whole[:start] + block + whole[start + size :])
            with pytest.raises(CheckpointError):
                load(saved)


def test_every_truncation_is_found_and_the_message_has_name_and_size(saved):
    whole = saved.read_bytes()
    for i in range(50):
        size = len(whole) * i // 50
        saved.write_bytes(whole[:size])
        with pytest.raises(CorruptCheckpoint, match=rf"x\.ckpt.*({size:,} bytes|empty)"):
            load(saved)
    for cut in range(1, 30):
        saved.write_bytes(whole[:-cut])
        with pytest.raises(CorruptCheckpoint, match="truncated"):
            verify(saved)


@pytest.mark.parametrize(
    "change", [lambda b: b + b"\n", lambda b: b"#!/bin/sh\n" + b, lambda b: b * 2, lambda b: b"PK\3\4" + b]
)
def test_bytes_before_or_after_are_found(saved, change):
    saved.write_bytes(change(saved.read_bytes()))
    with pytest.raises(CorruptCheckpoint):
        load(saved)


@pytest.mark.parametrize(
    "content", [b"", b"P", b"hello, world", b"PK\3\4", os.urandom(5000).replace(b"\x80", b"x"), b"[]"]
)
def test_a_file_of_another_kind_is_no_checkpoint(tmp_path, content):
    (tmp_path / "x.ckpt").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"x\.ckpt"):
        load(tmp_path / "x.ckpt")


def test_another_zip_file_is_no_checkpoint(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.ckpt", "w") as archive:
        archive.writestr("a/b.txt", "hello")
    with pytest.raises(CorruptCheckpoint, match=r"not one that `torch\.save` writes"):
        load(tmp_path / "x.ckpt")


def test_compressed_records_are_refused_unread(saved):
    with zipfile.ZipFile(saved, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * 100_000_000)
    with pytest.raises(CorruptCheckpoint, match="compressed"):
        load(saved)


CHANGES = {
    "leads out": lambda r: r | {"archive/../../x": b"x"},
    "not one that": lambda r: r | {"other/x": b"x"},
    "overlap": lambda r: r | {"archive/DATA.PKL": r["archive/data.pkl"]},
    "data/1' should have": lambda r: {k: v for k, v in r.items() if k != "archive/data/1"},
    "data/0' should have 6,400 bytes and has 100": lambda r: r | {"archive/data/0": b"x" * 100},
    "is damaged": lambda r: r | {"archive/data.pkl": b"\x80\x02}q\x00X\xff\xff\xff\x7fshort."},
    "is damaged: pickle exhausted": lambda r: r | {"archive/data.pkl": b"\x80\x02}"},
    "cannot read": lambda r: r | {"archive/data.pkl": b"\x80\x02R."},
    "a `list`, not a dict": lambda r: r | {"archive/data.pkl": b"\x80\x02]."},
}


@pytest.mark.parametrize("message", CHANGES)
def test_an_archive_with_true_checksums_and_other_faults_is_refused(saved, message):
    rewrite(saved, CHANGES[message])
    with pytest.raises(CorruptCheckpoint, match=message.replace("'", ".")):
        load(saved)


def test_a_torchscript_program_is_refused(saved):
    rewrite(saved, lambda r: r | {"archive/constants.pkl": b"x"})
    with pytest.raises(UnsafeCheckpoint, match="TorchScript"):
        load(saved)
