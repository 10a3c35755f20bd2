"""How the benchmarks measure: loops in turn in one process, one thread, CPU time, medians with their spread."""

from measuring.frameworks import LT, Framework, beside, quiet
from measuring.laps import Laps, above, interleaved
from measuring.report import Options, figure, options, print_table, spread
from measuring.terminal import terminal

__all__ = [
    "LT",
    "Framework",
    "Laps",
    "Options",
    "above",
    "beside",
    "figure",
    "interleaved",
    "options",
    "print_table",
    "quiet",
    "spread",
    "terminal",
]
