"""Programs run as users run them, and what they leave in a folder."""

import os
import subprocess
import sys
from pathlib import Path

from source_tree import ROOT

EXAMPLES = ROOT / "docs" / "examples"


def run(*command: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A finished process; its output is no terminal."""
    words = [str(word) for word in command]
    return subprocess.run(
        words, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, timeout=300
    )


def python(*args: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return run(sys.executable, *args, cwd=cwd, **environment)


def lt_cli(*args: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return run(Path(sys.executable).with_name("lt-cli"), *args, cwd=cwd, **environment)


def snapshot(folder: Path) -> dict[str, bytes | None]:
    """The bytes of every file below a folder; None for a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
        if "__pycache__" not in path.parts
    }
