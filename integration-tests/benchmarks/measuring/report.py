"""Command line and tables of the benchmarks."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, quantiles


@dataclass(frozen=True)
class Options:
    """What every benchmark takes."""

    beside: str | None
    repeats: int


def options(description: str | None, repeats: int) -> Options:
    """The command line; `repeats` is the number of them by default."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--beside", metavar="NAME", help="a package with Lightning's interface, e.g. lightning")
    parser.add_argument("--repeats", type=int, default=repeats, help=f"at least 5; {repeats} by default")
    given = parser.parse_args()
    if given.repeats < 5:
        parser.error(f"`--repeats {given.repeats}` is too few for a median. Use at least 5.")
    return Options(given.beside, given.repeats)


def figure(values: Sequence[float], digits: int = 1) -> str:
    """The median."""
    return f"{median(values):.{digits}f}"


def spread(values: Sequence[float], digits: int = 1) -> str:
    """The median, and between which figures the middle half of the repeats lies."""
    low, middle, high = quantiles(values, n=4, method="inclusive")
    return f"{middle:+.{digits}f} ({low:+.{digits}f} to {high:+.{digits}f})"


def print_table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A markdown table."""
    print(f"\n### {title}\n")
    print("| " + " | ".join(head) + " |")
    print("| --- |" + " ---: |" * (len(head) - 1))
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)
