"""Names that packages offer for callbacks, loggers and schedulers, as import paths."""

from __future__ import annotations

from typing import Any

from lt_cli.installed import installed

GROUPS = {"callbacks": "lt.callbacks", "logger": "lt.loggers"}
OWN = {"lr_scheduler": {"ReduceLROnPlateau": "lt_cli.optimizers.ReduceLROnPlateau"}}


def offered(kind: str) -> dict[str, str]:
    """Import paths by name; nothing is imported for it."""
    found = installed(GROUPS[kind]) if kind in GROUPS else ()
    return {**{point.name: point.value.replace(":", ".") for point in found}, **OWN.get(kind, {})}


def packages_offering() -> set[str]:
    """The packages that installed entry points lead to."""
    return {path.partition(".")[0] for kind in GROUPS for path in offered(kind).values()}


def import_path(kind: str, name: str) -> str:
    """The import path of a name; the name itself if nobody offers it."""
    return offered(kind).get(name, name)


def with_import_paths(values: Any, kind: str = "") -> Any:
    """The values of a file with each offered name under `class_path` as its import path.

    A name alone is left: the trainer makes that object in its own way.
    """
    if isinstance(values, list):
        return [with_import_paths(item, kind) for item in values]
    if not isinstance(values, dict):
        return values
    found = {key: with_import_paths(value, key) for key, value in values.items()}
    if isinstance(found.get("class_path"), str):
        found["class_path"] = import_path(kind, found["class_path"])
    return found
