"""The names that users may rely on, as they are; run as a program, it freezes them in public_names.txt."""

import importlib
import pkgutil
from pathlib import Path

from source_tree import PACKAGES, Package

FROZEN = Path(__file__).with_suffix(".txt")


def public_modules(package: Package) -> list[str]:
    """The package; for the roof, which mirrors a tree that users know, its public modules as well."""
    if package.import_name != "lt":
        return [package.import_name]
    inner = pkgutil.iter_modules([str(package.source)])
    return ["lt", *sorted(f"lt.{module.name}" for module in inner if not module.name.startswith("_"))]


def public_names(package: Package) -> list[str]:
    """Dotted names of everything in the `__all__` of the public modules."""
    modules = [importlib.import_module(name) for name in public_modules(package)]
    return sorted(f"{module.__name__}.{name}" for module in modules for name in getattr(module, "__all__", []))


def frozen_names() -> list[str]:
    return FROZEN.read_text().splitlines()


if __name__ == "__main__":
    FROZEN.write_text("".join(f"{name}\n" for package in PACKAGES for name in public_names(package)))
