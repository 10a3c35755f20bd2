"""From what a person types to a class: `pkg.mod:Class`, `pkg.mod.Class`, `path/file.py:Class` or an entry point.

Only references from the command line and from installed packages come here; a file never names what is imported.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Iterable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from lt_interfaces import did_you_mean

from lt_cli.failures import UsageError
from lt_cli.installed import installed

GROUP = "lt.cli"


def load_class(reference: str) -> type:
    """The class that a reference names; its module is imported."""
    place, separator, name = reference.rpartition(":")
    if not separator:
        place, _, name = reference.rpartition(".")
    if not place or not name:
        raise UsageError(f"`{reference}` names no class. Write `pkg.mod:Class`, `pkg.mod.Class` or `file.py:Class`.")
    module = _module_of_file(Path(place)) if place.endswith(".py") else _module(place)
    found: object = module
    for part in name.split("."):
        found = getattr(found, part, None)
    if not inspect.isclass(found):
        known = [n for n, value in vars(module).items() if inspect.isclass(value) and not n.startswith("_")]
        remedy = did_you_mean(name, known) if known else "The module defines no class."
        raise UsageError(f"`{place}` has no class `{name}`. {remedy}")
    return found


def registered_class(name: str) -> type | None:
    """The class that an installed package offers as the default `trainer`, `model` or `data`."""
    found = installed(GROUP, name)
    if len({point.value for point in found}) > 1:
        offers = ", ".join(f"`{point.value}`" for point in found)
        raise UsageError(f"Several packages offer a default {name}: {offers}. Choose with `--{name}`.")
    return found[0].load() if found else None


def registered(name: str) -> Any:
    """What an installed package offers under another name of the group, e.g. a function; None if none does."""
    found = installed(GROUP, name)
    return found[0].load() if found else None


def import_named(reference: str) -> str:
    """The package of a module or `file.py`, now imported."""
    module = _module_of_file(Path(reference)) if reference.endswith(".py") else _module(reference)
    return module.__name__.partition(".")[0]


def chosen_classes(args: Iterable[str], groups: Iterable[str]) -> tuple[dict[str, str], list[str], list[str]]:
    """The class references given as `--model X` or `--model=X`, by group, the modules of `--import`, and the rest."""
    flags = {f"--{group}": group for group in groups}
    chosen: dict[str, str] = {}
    imports: list[str] = []
    rest: list[str] = []
    remaining = iter(args)
    for argument in remaining:
        name, equals, value = argument.partition("=")
        if name not in flags and name != "--import":
            rest.append(argument)
            continue
        value = value if equals else next(remaining, "")
        if not value or value.startswith("--"):
            what, form = ("a module", "pkg.mod") if name == "--import" else ("a class", "pkg.mod:Class")
            other = form.replace("pkg.mod", "file.py")
            raise UsageError(f"`{name}` needs {what}. Write `{name} {form}` or `{name} {other}`.")
        if name == "--import":
            imports.append(value)
        else:
            chosen[flags[name]] = value
    return chosen, imports, rest


def same_class(one: str, other: str) -> bool:
    """True if two references are spellings of the same name."""
    return one.replace(":", ".") == other.replace(":", ".")


def _module(name: str) -> ModuleType:
    # A console script does not see the working directory; at the end of the path it can shadow nothing.
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        raise UsageError(
            f"There is no module `{error.name}` to import `{name}` from. "
            "Install it, or start where it can be found, or name a file: `path/file.py:Class`."
        ) from None


def _module_of_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise UsageError(f"There is no file `{path}`. Name an existing one: `path/file.py:Class`.")
    path = path.resolve()
    name = path.stem
    loaded = sys.modules.get(name)
    if loaded is not None and getattr(loaded, "__file__", None) == str(path):
        return loaded
    if loaded is not None:
        name = f"{name}_file"
    # As with `python file.py`: its neighbours can be imported, and worker processes find it by name.
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"`{path}` cannot be imported. Name a Python source file.")
    module = sys.modules[name] = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
