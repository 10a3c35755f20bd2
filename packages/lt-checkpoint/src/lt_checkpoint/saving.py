"""Checkpoints go to disk here: plain values only, streamed, with checksums."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

import torch
from torch.serialization import get_crc32_options, set_crc32_options

from lt_checkpoint.paths import StrPath
from lt_checkpoint.values import Conversion
from lt_checkpoint.writing import atomic_write


def save(state: Mapping[str, Any], path: StrPath) -> None:
    """A complete, durable file at `path`, or an exception and the old file untouched.

    Values are written in their plain form (see `plain`), so `load` can always read them; what has none is a TypeError
    that names the key, before anything is written. Tensors are streamed: no second copy of the state is made. Any
    `torch.load(path, weights_only=True)` reads the file too.
    """
    check_state(state)
    conversion = Conversion("checkpoint")
    values = conversion.convert(state)
    with atomic_write(path, needs_bytes=conversion.tensor_bytes) as file:
        write_archive(values, Sink(file), path)


def write_archive(values: Any, sink: "Sink", path: StrPath) -> None:
    """One archive of torch's, checksums included; `path` is what errors name."""
    try:
        with _checksums():
            torch.save(values, cast(BinaryIO, sink))
    except RuntimeError as error:
        if isinstance(sink.error, OSError):
            sink.error.filename = str(path)
        raise sink.error or error from None


def check_state(state: Any) -> None:
    """Refuse what is no dict."""
    if not isinstance(state, Mapping):
        raise TypeError(f"A checkpoint is a dict, got `{type(state).__name__}`. Save `{{'value': ...}}`.")


class Sink:
    """A file that remembers why a write failed: torch's writer tells only that it did."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.flush = file.flush
        self.error: BaseException | None = None

    def write(self, data: Any) -> int:
        try:
            return self.file.write(data)
        except BaseException as error:
            self.error = error
            raise


@contextmanager
def _checksums() -> Iterator[None]:
    """torch writes checksums unless the program switched them off."""
    before = get_crc32_options()
    set_crc32_options(True)
    try:
        yield
    finally:
        set_crc32_options(before)
