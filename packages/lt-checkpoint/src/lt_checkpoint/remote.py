"""Files in the stores that fsspec reaches: whole or not there, read by way of a copy on this machine.

What a store's name means, and who may enter, is for fsspec and the store's own package (`s3fs`, `gcsfs`, ...) to say:
their settings come from the environment or from `fsspec.config`.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO

from lt_checkpoint.paths import shown, temporary_name

_CHUNK_BYTES = 1 << 20
_READ_ONLY = ("http://", "https://")


@contextmanager
def download(url: str) -> Iterator[BinaryIO]:
    """A copy on this machine, without a name and gone when the block ends."""
    with tempfile.TemporaryFile() as copy:
        fetch(url, copy)
        copy.seek(0)
        yield copy


def fetch(url: str, sink: BinaryIO) -> None:
    """Write what the store has under the name."""
    store, key = _store(url)
    with _in_plain_words(url), store.open(key, "rb") as stream:
        shutil.copyfileobj(stream, sink, _CHUNK_BYTES)


@contextmanager
def upload(url: str) -> Iterator[BinaryIO]:
    """A file that appears in the store when the block ends, in one step; an exception leaves nothing to see."""
    store, key = _store(url, writes=True)
    with _in_plain_words(url):
        name, file = _begin(store, key)
    try:
        yield file
        with _in_plain_words(url):
            size = file.tell()
            file.close()
            _publish(store, name, key, file)
            _check_arrival(store, url, key, size)
    except BaseException:
        _abandon(store, name, key, file)
        raise


def copy(source: str, target: str) -> None:
    """The same content under another name, made inside the store where both are in one."""
    store, key = _store(target, writes=True)
    origin, origin_key = _store(source)
    with _in_plain_words(source):
        if origin is store and _holds_back(store, key):
            store.cp_file(origin_key, key)
            return
        with origin.open(origin_key, "rb") as read, upload(target) as write:
            shutil.copyfileobj(read, write, _CHUNK_BYTES)


def is_there(url: str) -> bool:
    """True if the store has a file of this name."""
    store, key = _store(url)
    with _in_plain_words(url):
        store.invalidate_cache(_parent(key))
        return bool(store.isfile(key))


def forget(url: str) -> None:
    """No file of this name."""
    store, key = _store(url, writes=True)
    with suppress(FileNotFoundError), _in_plain_words(url):
        store.rm_file(key)


def listing(folder: str) -> list[str]:
    """The names directly below a folder, those of folders with a slash at their end."""
    store, key = _store(folder.rstrip("/"))
    store.invalidate_cache(key)
    with suppress(FileNotFoundError), _in_plain_words(folder):
        entries = [(entry["name"].rstrip("/"), entry["type"]) for entry in store.ls(key, detail=True)]
        return sorted(name[len(_parent(name)) + 1 :] + "/" * (kind == "directory") for name, kind in entries)
    return []


def matching(folder: str, pattern: str, mark: str) -> list[str]:
    """The addresses, below a folder, of files whose path from there matches and of folders in which `mark` is."""
    store, key = _store(folder.rstrip("/"))
    key = key.rstrip("/")
    with _in_plain_words(folder):
        store.invalidate_cache(key)
        found = store.glob(f"{key}/{pattern}", detail=True)
        kept = [name for name, info in found.items() if info["type"] == "file" or store.isfile(f"{name}/{mark}")]
    return [folder.rstrip("/") + name[len(key) :] for name in kept]


def _store(url: str, writes: bool = False) -> tuple[Any, str]:
    """The store and the name in it."""
    if writes and url.startswith(_READ_ONLY):
        raise ValueError(f"A web server takes no files, got {shown(url)!r}. Write to a local path or an object store.")
    try:
        from fsspec.core import url_to_fs  # type: ignore[import-untyped]
    except ImportError as error:
        raise ImportError(
            f"`{shown(url)}` is reached through fsspec, which is not installed. "
            'Run `pip install "lt-checkpoint[remote]"`.'
        ) from error
    try:
        store, key = url_to_fs(url)
    except ImportError as error:
        raise ImportError(f"`{shown(url)}` needs a package that is not installed. {error}.") from error
    return store, str(key)


def _parent(key: str) -> str:
    return key.rpartition("/")[0]


def _begin(store: Any, key: str) -> tuple[str, Any]:
    """A file that nobody sees under the key before it is published, and the name that it has until then."""
    aside = f"{_parent(key)}/{temporary_name()}"
    try:
        file = store.open(aside, "wb", autocommit=False)
    except FileNotFoundError:
        store.makedirs(_parent(key), exist_ok=True)
        file = store.open(aside, "wb", autocommit=False)
    if not _is_held_back(file):
        return aside, file
    _discard(file)
    return key, store.open(key, "wb", autocommit=False)


def _holds_back(store: Any, key: str) -> bool:
    """True if the store itself takes files in one step, as object stores do."""
    name, file = _begin(store, key)
    _abandon(store, name, key, file)
    return name == key


def _is_held_back(file: Any) -> bool:
    from fsspec.spec import AbstractBufferedFile  # type: ignore[import-untyped]

    commits = getattr(type(file), "commit", AbstractBufferedFile.commit) is not AbstractBufferedFile.commit
    return commits and getattr(file, "autocommit", True) is False


def _publish(store: Any, name: str, key: str, file: Any) -> None:
    if name == key:
        file.commit()
    else:
        store.mv(name, key)


def _check_arrival(store: Any, url: str, key: str, size: int) -> None:
    """A store may say yes and keep less."""
    store.invalidate_cache(_parent(key))
    kept = store.info(key)["size"]
    if kept != size:
        raise OSError(f"`{shown(url)}` was sent {size:,} bytes and has {kept:,}. Save again or to another store.")


def _abandon(store: Any, name: str, key: str, file: Any) -> None:
    if name == key:
        _discard(file)
    else:
        with suppress(Exception):  # it is the first error that counts
            file.close()
        with suppress(Exception):
            store.rm_file(name)


def _discard(file: Any) -> None:
    with suppress(Exception):
        file.discard()
    with suppress(Exception):
        file.closed = True  # or its end would send what is left of it


@contextmanager
def _in_plain_words(url: str) -> Iterator[None]:
    """Errors of a store's package as those of files."""
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(f"There is no `{shown(url)}`. Check the address.") from error
    except (OSError, NotImplementedError, ImportError):
        raise
    except Exception as error:
        raise OSError(f"`{shown(url)}` could not be reached: {error!r}. Check the address and the access.") from error
