"""Command line and tables of the benchmarks."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Options:
    """What every benchmark takes."""

    beside: str | None
    repeats: int


def options(description: str | None) -> Options:
    """The command line."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--beside", metavar="NAME", help="a package with Lightning's interface, e.g. lightning")
    parser.add_argument("--repeats", type=int, default=7)
    given = parser.parse_args()
    return Options(given.beside, given.repeats)


def figure(values: Sequence[float], digits: int = 1) -> str:
    """The median."""
    return f"{median(values):.{digits}f}"


def spread(values: Sequence[float], digits: int = 1) -> str:
    """The median, and the least and the greatest of all repeats."""
    return f"{median(values):+.{digits}f} ({min(values):+.{digits}f} to {max(values):+.{digits}f})"


def print_table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A markdown table."""
    print(f"\n### {title}\n")
    print("| " + " | ".join(head) + " |")
    print("| --- |" + " ---: |" * (len(head) - 1))
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)
