"""The zip file that `torch.save` writes, checked in full before any of it is used.

torch writes checksums but does not compare them on reading, and believes the sizes that the pickle names.
"""

import os
import struct
import zipfile
from typing import BinaryIO, NoReturn

from lt_interfaces import CorruptCheckpoint, UnsafeCheckpoint

from lt_checkpoint.requests import read_requests

_REMEDY = "Use another checkpoint; `lt_checkpoint.newest` lists those of a folder."
_CHUNK_BYTES = 1 << 20
_MALFORMED = (Warning, zipfile.BadZipFile, NotImplementedError, ValueError, EOFError, OverflowError, struct.error)


def check_archive(file: BinaryIO, path: str, *, checksums: bool = True) -> None:
    """Return if the file is whole and asks for plain values only; leaves the file at its start."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    _check_frame(file, path, size)
    try:
        with zipfile.ZipFile(file) as archive:
            root = _check_contents(archive, path, size)
            if checksums:
                _check_sums(archive, path)
            wanted = read_requests(archive.read(f"{root}/data.pkl"))
            records = {entry.filename: entry.file_size for entry in archive.infolist()}
    except _MALFORMED as error:
        raise CorruptCheckpoint(f"`{path}` ({size:,} bytes) is damaged: {error}. {_REMEDY}") from error
    if wanted.refused:
        _refuse_unsafe(path, ", ".join(f"`{name}`" for name in wanted.refused[:5]))
    for key, needs_bytes in wanted.storages.items():
        has_bytes = records.get(f"{root}/data/{key}", -1)
        if has_bytes < needs_bytes:
            _refuse(path, f"record 'data/{key}' should have {needs_bytes:,} bytes and has {max(has_bytes, 0):,}")
    file.seek(0)


def _check_contents(archive: zipfile.ZipFile, path: str, size: int) -> str:
    """The folder that all records are in; each must be stored as it is, once, and inside the file."""
    entries = archive.infolist()
    names = {entry.filename for entry in entries}
    roots = {name.partition("/")[0] for name in names}
    root = min(roots, default="")
    if len(roots) != 1 or f"{root}/data.pkl" not in names:
        _refuse(path, "it is a zip file, but not one that `torch.save` writes")
    if f"{root}/constants.pkl" in names:
        _refuse_unsafe(path, "it is a TorchScript program")
    for entry in entries:
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size or entry.flag_bits & 1:
            _refuse(path, f"record {entry.filename!r} is compressed or encrypted")
        if ".." in entry.filename.split("/"):
            _refuse(path, f"record {entry.filename!r} leads out of the archive")
    distinct = {name.casefold() for name in names}
    total_bytes = sum(entry.file_size for entry in entries)
    if len(distinct) != len(entries) or total_bytes > size or min(entry.header_offset for entry in entries):
        _refuse(path, "its records overlap or do not begin where the file does")
    return root


def _check_frame(file: BinaryIO, path: str, size: int) -> None:
    """A zip file has a mark at its start, and a table of contents that ends where the file does."""
    start = file.read(4)
    if not size:
        _refuse(path, "it is empty")
    if start[:1] == b"\x80":
        _refuse_unsafe(path, "a bare pickle, torch's format before 1.6")
    if start != b"PK\3\4":
        _refuse(path, f"it is no checkpoint ({size:,} bytes)")
    file.seek(max(size - 22, 0))
    if file.read(4) != b"PK\5\6":
        _refuse(path, f"it is truncated ({size:,} bytes, the end is missing) or something follows its end")


def _check_sums(archive: zipfile.ZipFile, path: str) -> None:
    for entry in archive.infolist():
        try:
            with archive.open(entry) as record:
                while record.read(_CHUNK_BYTES):
                    pass
        except _MALFORMED as error:
            _refuse(path, f"record `{entry.filename}` does not match its checksum ({error})")


def _refuse(path: str, fact: str) -> NoReturn:
    raise CorruptCheckpoint(f"`{path}` cannot be used: {fact}. {_REMEDY}")


def _refuse_unsafe(path: str, wants: str) -> NoReturn:
    """Say what the file asks for, and the one way to load it all the same."""
    raise UnsafeCheckpoint(
        f"`{path}` asks for more than plain values and tensors: {wants}. Nothing of it was run. If you made this file "
        "yourself, `lt_checkpoint.load_unsafe(path, i_trust_this_file=True)` loads it."
    )
