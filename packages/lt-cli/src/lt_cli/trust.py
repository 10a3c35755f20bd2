"""What a config file may name: packages that a person, not the file, has chosen to import."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from types import ModuleType
from typing import Any

from jsonargparse import set_parsing_settings

from lt_cli.failures import packages_of, packages_of_lt

NOT_OURS = sys.stdlib_module_names | {"jsonargparse"}
# Of torch, what a setting may name and no more.
PARTS_OF_TORCH = {"torch.nn", "torch.optim"}


def trust(classes: Iterable[type | None], args: Iterable[str], packages: Iterable[str] = ()) -> None:
    """Let config files name what is in the packages of the classes, on the command line or given here.

    The setting is the process's own: later calls add to it.
    """
    allowed = packages_of(*classes) | PARTS_OF_TORCH | paths_in(args) | set(packages)
    allowed |= packages_of_lt(name.partition(".")[0] for name in sys.modules)
    named = sorted(name for name in allowed if name.replace(".", "").isidentifier())
    set_parsing_settings(
        import_path_denylist=["*"], import_path_allowlist=named, instantiate_subclass_spec_in_any=False
    )


def paths_in(args: Iterable[str]) -> set[str]:
    """The packages of the import paths among the values on a command line, the standard library's left out."""
    path = re.compile(r"""(?:^|=|"class_path": ?")([a-zA-Z_][\w.]*\.\w+)(?:$|")""")
    found = {match[1].partition(".")[0] for argument in args for match in path.finditer(argument)}
    return found - NOT_OURS


def packages_of_the_script() -> set[str]:
    """The packages whose modules, classes or functions the running script has imported by name."""
    script = sys.modules.get("__main__")
    found = {"__main__"}
    for value in list(vars(script).values()) if script else []:
        name = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
        if isinstance(name, str):
            found.add(name.partition(".")[0])
    return found - NOT_OURS - {"torch", "builtins"}


def imported(path: str) -> Any:
    """What a dotted path names, if its module is already there; else None."""
    module, _, name = path.rpartition(".")
    return getattr(sys.modules.get(module), name, None)
