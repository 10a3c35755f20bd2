"""Nested lists, tuples and dicts: their leaves in order, and the same nesting around other leaves."""

from collections.abc import Iterator, Mapping
from typing import Any


def leaves(tree: Any) -> Iterator[Any]:
    """The leaves of a nesting; anything but a list, tuple or mapping is one."""
    if isinstance(tree, (list, tuple, Mapping)):
        for branch in tree.values() if isinstance(tree, Mapping) else tree:
            yield from leaves(branch)
    else:
        yield tree


def fill(tree: Any, values: Iterator[Any]) -> Any:
    """The same nesting with the next of `values` for each leaf; a mapping becomes a dict."""
    if isinstance(tree, Mapping):
        return {key: fill(branch, values) for key, branch in tree.items()}
    if isinstance(tree, (list, tuple)):
        branches = [fill(branch, values) for branch in tree]
        return type(tree)(*branches) if hasattr(tree, "_fields") else type(tree)(branches)
    return next(values)
