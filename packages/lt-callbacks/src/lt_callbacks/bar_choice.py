"""Which progress display suits an output: chosen by what it is, never by what is installed."""

import sys
from typing import TextIO

from lt_callbacks.line_progress_bar import LineProgressBar
from lt_callbacks.progress_bar import ProgressBar, can_draw
from lt_callbacks.tqdm_progress_bar import TQDMProgressBar


def default_progress_bar(stream: TextIO | None = None) -> ProgressBar:
    """A bar on a terminal or in a notebook, lines in a file or a pipe; `stream` is standard error by default."""
    if not can_draw(stream or sys.stderr):
        return LineProgressBar(stream=stream)
    bar = TQDMProgressBar()
    bar.stream = stream
    return bar
