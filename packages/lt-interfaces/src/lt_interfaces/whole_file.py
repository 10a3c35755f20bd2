"""Text files that are there whole or not at all, whenever the program or the machine stops."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO


@contextmanager
def replacing(path: str | os.PathLike[str], mode: int = 0o666) -> Iterator[TextIO]:
    """A file that takes the place of `path` when the block ends well; otherwise what is there stays as it is.

    The one in place keeps its permissions; a new one gets `mode` without the umask.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.urandom(8).hex()}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with open(descriptor, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            shutil.copymode(path, temporary)
        os.replace(temporary, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def write_text(path: str | os.PathLike[str], text: str, mode: int = 0o666) -> None:
    """Put the text in the file's place; folders are made."""
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with replacing(path, mode) as file:
        file.write(text)
