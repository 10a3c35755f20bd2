"""Which places a name may mean: local ones only, and under a root where one is given."""

import os
import re
from pathlib import Path

StrPath = str | os.PathLike[str]

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")  # one slash: Path() has eaten the other


def local(path: StrPath) -> Path:
    """The path, which must be on this machine's file system."""
    text = os.fspath(path)
    if _URL.match(text):
        raise NotImplementedError(f"Remote stores are not supported yet, got {text!r}. Write to a local path.")
    return Path(text)


def inside(root: StrPath, name: StrPath) -> Path:
    """`root / name`, for a name that must stay under the root, symbolic links followed."""
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
