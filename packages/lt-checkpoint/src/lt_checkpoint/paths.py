"""Which places a name may mean: this machine's files, another's by its address, and none outside a root."""

import os
import re
from pathlib import Path

StrPath = str | os.PathLike[str]

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/(/?)")  # one slash: Path() has eaten the other
_HERE = ("file", "local")


def remote(path: StrPath) -> str | None:
    """The address, if the path is one of another machine's or of memory; None for this machine's files."""
    text = os.fspath(path)
    found = _URL.match(text)
    if found is None or found[1].lower() in _HERE:
        return None
    if "::" in text:
        raise ValueError(f"An address in another one is not read, got {shown(text)!r}. Give one address.")
    return f"{found[1].lower()}://{text[found.end() :]}"


def local(path: StrPath) -> Path:
    """The path, which must be on this machine's file system."""
    text = os.fspath(path)
    if remote(text) is not None:
        raise NotImplementedError(f"This needs a folder of this machine, got {shown(text)!r}. Give a local path.")
    found = _URL.match(text)
    return Path(text if found is None else "/" * (not found[2]) + text[found.end() :])


def below(folder: StrPath, name: str) -> StrPath:
    """A name in a folder of this machine or of a store."""
    url = remote(folder)
    return local(folder) / name if url is None else f"{url.rstrip('/')}/{name}"


def shown(path: StrPath) -> str:
    """The path as messages say it: without what an address tells of passwords and signatures."""
    text = os.fspath(path)
    if not _URL.match(text):
        return text
    return re.sub(r"\?.*", "?...", re.sub(r":/(/?)[^/@]*@", r":/\1***@", text), flags=re.DOTALL)


def inside(root: StrPath, name: StrPath) -> Path:
    """`root / name`, for a name that must stay under the root, symbolic links followed; both on this machine."""
    text, base = os.fspath(name), local(root)
    parts = Path(text).parts
    if not parts or "\0" in text or ".." in parts or Path(text).is_absolute() or _URL.match(text):
        raise ValueError(f"A name must be a path below its folder, got {text!r}. Use no `..`, no absolute path.")
    path = base / text
    try:
        stays = path.resolve().is_relative_to(base.resolve())
    except (OSError, RuntimeError) as error:
        raise ValueError(f"`{path}` cannot be followed to its end: {error}. Use another name.") from error
    if not stays:
        raise ValueError(
            f"`{path}` leads out of `{base}` through a symbolic link. Remove the link or use another name."
        )
    return path


def temporary_name() -> str:
    """A name for what is about to come or to go."""
    return f".lt-{os.urandom(8).hex()}.tmp"
