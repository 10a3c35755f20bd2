"""Two places that log under one name, which would overwrite each other silently."""

import sys
from collections.abc import Mapping
from typing import Any

from lt_interfaces import MisconfigurationException

from lt_loops.collection import Collection
from lt_loops.entry import Entry


def check_collisions(entry: Entry, own: Mapping[str, Entry], collection: Collection) -> None:
    """Refuse a new entry whose names are taken, by its `own` loader's entries or by others of its stage."""
    names, count = set(entry.names()), len(collection.loaders)
    for entries in (*collection.loaders, collection.outside):
        for other in entries.values():
            clash = names & set(other.names())
            may_share = entries is not own and (
                other.place == entry.place or (other.add_dataloader_idx and count > 1 and other.scope == entry.scope)
            )
            if clash and not may_share:
                raise MisconfigurationException(
                    f"The metric `{clash.pop()}` is logged from two places, {other.place} and {entry.place}. "
                    "Give one of them another name."
                )
    if not (entry.is_metric and entry.add_dataloader_idx):
        return
    elsewhere = (other for entries in collection.loaders if entries is not own for other in entries.values())
    if any(other.metric is entry.metric for other in elsewhere):
        raise MisconfigurationException(
            f"One metric object is logged as `{entry.name}` for several loaders, whose values would mix in it. "
            "Keep one for each loader, e.g. in an `nn.ModuleList`."
        )


def caller() -> str:
    """File and line of the user's call of `log`, found without a traceback object."""
    frame: Any = sys._getframe(1)
    while frame and frame.f_globals.get("__name__", "").split(".")[0] in ("lt_loops", "lt_module", "torch"):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame else "an unknown place"
