"""Objects out of strings: lt's own table first, then what other packages registered."""

from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoints, entry_points
from typing import Any

from lt_interfaces import did_you_mean


@cache
def _registered(group: str) -> EntryPoints:
    return entry_points(group=group)


def resolve(kind: str, value: Any, home: Any, own: Mapping[str, str], **kwargs: Any) -> Any:
    """`value` itself unless it is a string; then what is made of it: by lt's table or an entry point `lt.<kind>`.

    `own` has the name in the module `home` for each string.
    """
    if not isinstance(value, str):
        return value
    if value in own:
        return getattr(home, own[value])(**kwargs)
    found = {e.name: e for e in _registered(f"lt.{kind}")}
    if value in found:
        return found[value].load()(**kwargs)
    raise ValueError(
        f"There is nothing called {value!r} among the {kind}. {did_you_mean(value, {**own, **found})} "
        f"Other packages add names through the entry point `lt.{kind}`."
    )
