"""A terminal to draw progress bars on, as a user has one; what is drawn is dropped."""

import contextlib
import os
import pty
import subprocess
from collections.abc import Iterator


@contextlib.contextmanager
def terminal() -> Iterator[None]:
    """Output goes to a terminal, read by a process of its own so that reading it is not counted."""
    reading, drawing = pty.openpty()
    reader = subprocess.Popen(["cat"], stdin=reading, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(reading)
    try:
        with os.fdopen(drawing, "w", buffering=1) as screen:
            with contextlib.redirect_stdout(screen), contextlib.redirect_stderr(screen):
                yield
    finally:
        reader.wait()
