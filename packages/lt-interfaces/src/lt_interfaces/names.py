"""The sentence with the nearest right name, spoken the same way by all packages."""

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The known name that looks most like `name`, or None if none is close."""
    matches = get_close_matches(name, list(known), n=1, cutoff=cutoff)
    return matches[0] if matches else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """One sentence of remedy: the nearest known name, or all of them."""
    known = sorted(known)
    match = nearest(name, known)
    return f"Did you mean `{match}`?" if match else "Known: " + ", ".join(f"`{k}`" for k in known) + "."
