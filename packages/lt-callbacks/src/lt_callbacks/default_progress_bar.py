"""Which progress display suits an output: chosen by what it is, never by what is installed."""

import os
import sys
from typing import TextIO

from lt_callbacks.line_progress_bar import LineProgressBar
from lt_callbacks.progress_bar import ProgressBar
from lt_callbacks.tqdm_progress_bar import TQDMProgressBar, in_notebook


def default_progress_bar(stream: TextIO | None = None) -> ProgressBar:
    """A bar on a terminal or in a notebook, lines in a file or a pipe; `stream` is standard error by default."""
    stream = sys.stderr if stream is None else stream
    draws = stream.isatty() and os.environ.get("TERM") != "dumb"
    if not draws and not in_notebook():
        return LineProgressBar(stream=stream)
    bar = TQDMProgressBar()
    bar.stream = stream
    return bar
