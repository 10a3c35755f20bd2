"""Answers that are the same each time, help above all, kept for the next time: it then needs no torch and no class.

An answer is taken out only if everything that it was made from is as it was: the arguments, the interpreter, the files
of all modules that were loaded, the folders that packages are installed in, the variables that lt reads, the width of
the terminal. Only command lines that name no class and no file are kept, so no code of a user's is behind an answer.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout, suppress
from pathlib import Path

from lt_interfaces.whole_file import write_text

from lt_cli.commands import COMMANDS, DONE
from lt_cli.completion import SHELLS

VARIABLES = ("LT_", "PL_", "JSONARGPARSE_")
HELP = {"-h", "--help"}


def is_constant(args: Sequence[str]) -> bool:
    """True for a command line that is answered from what is installed and nothing else."""
    command, *rest = args
    if command == "completion":
        return len(rest) == 1 and rest[0] in SHELLS
    if command == "config":
        return not rest or (len(rest) == 1 and rest[0] in COMMANDS)
    return bool(rest) and HELP.issuperset(rest)


def answer(args: Sequence[str], ask: Callable[[], int]) -> int:
    """The exit status of a constant command line; what `ask` prints is printed, now or from the last time."""
    place = _folder() / (hashlib.sha256(repr([sys.prefix, *args]).encode()).hexdigest()[:16] + ".json")
    before = _circumstances()
    text = _kept(place, before)
    if text is None:
        printed = io.StringIO()
        with redirect_stdout(printed):
            status = _status(ask)
        text = printed.getvalue()
        if status != DONE:
            print(text, end="")
            return status
        _keep(place, before, text)
    print(text, end="")
    return DONE


def _status(ask: Callable[[], int]) -> int:
    try:
        return ask()
    except SystemExit as left:
        if left.code in (None, DONE):
            return DONE
        raise


def _folder() -> Path:
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (given if given.is_absolute() else Path(os.path.expanduser("~")) / ".cache") / "lt"


def _circumstances() -> str:
    # A digest, since a variable may hold what should not lie about in a file.
    variables = sorted((name, value) for name, value in os.environ.items() if name.startswith(VARIABLES))
    facts = (sys.version, sys.executable, shutil.get_terminal_size().columns, variables, sys.flags, sys.warnoptions)
    places = [(path, _entries(path or ".")) for path in sys.path]
    return hashlib.sha256(repr((facts, places)).encode()).hexdigest()


def _entries(path: str) -> list[str] | list[int] | None:
    """What a folder of packages holds; its time will not do, since the first import of a module adds its bytecode."""
    try:
        return sorted(name for name in os.listdir(path) if name != "__pycache__")
    except OSError:
        return _state(path)


def _state(path: str) -> list[int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return [found.st_mtime_ns, found.st_size, found.st_ino]


def _kept(place: Path, circumstances: str) -> str | None:
    try:
        kept = json.loads(place.read_text("utf-8"))
        as_it_was = kept["circumstances"] == circumstances and all(
            _state(path) == state for path, state in kept["files"].items()
        )
        return str(kept["text"]) if as_it_was else None
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _keep(place: Path, circumstances: str, text: str) -> None:
    files = {file: _state(file) for module in [*sys.modules.values()] if (file := getattr(module, "__file__", None))}
    with suppress(OSError):
        if place.is_absolute():  # it is not for a user without a home
            write_text(place, json.dumps({"circumstances": circumstances, "files": files, "text": text}), 0o600)
