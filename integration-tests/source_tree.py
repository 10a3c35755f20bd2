"""What the files of the repository say, read without importing them."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent

# Where a distribution's import name is not its own name with underscores.
IMPORT_NAMES = {"mlflow-skinny": "mlflow", "pyyaml": "yaml", "scikit-learn": "sklearn", "types-tqdm": "tqdm"}


@dataclass(frozen=True)
class Import:
    """One imported module, as a dotted name, and where it is imported."""

    module: str
    path: Path
    line: int
    for_types: bool = False

    @property
    def top(self) -> str:
        return self.module.partition(".")[0]

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line} imports {self.module}"


@dataclass(frozen=True)
class Package:
    """One folder of `packages/`."""

    name: str

    @property
    def folder(self) -> Path:
        return ROOT / "packages" / self.name

    @property
    def import_name(self) -> str:
        return self.name.replace("-", "_")

    @property
    def source(self) -> Path:
        return self.folder / "src" / self.import_name

    @cached_property
    def project(self) -> dict[str, Any]:
        return tomllib.loads((self.folder / "pyproject.toml").read_text())["project"]

    def modules(self) -> list[Path]:
        return sorted(self.source.rglob("*.py"))

    def tests(self) -> list[Path]:
        return sorted((self.folder / "tests").rglob("*.py"))

    def required(self) -> set[str]:
        """Import names of the declared dependencies."""
        return {import_name(line) for line in self.project["dependencies"]}

    def extra(self, name: str) -> set[str]:
        """Import names of an extra's dependencies; an extra of the package itself is followed."""
        found = set()
        for line in self.project.get("optional-dependencies", {}).get(name, []):
            if import_name(line) == self.import_name:
                for inner in re.search(r"\[(.*)\]", line)[1].split(","):
                    found |= self.extra(inner.strip())
            else:
                found.add(import_name(line))
        return found

    def optional(self) -> set[str]:
        """Import names that some extra other than `test` brings."""
        extras = set(self.project.get("optional-dependencies", {})) - {"test"}
        return {name for extra in extras for name in self.extra(extra)} - self.required()


def import_name(requirement: str) -> str:
    name = re.split(r"[^\w.-]", requirement)[0].lower()
    return IMPORT_NAMES.get(name, name.replace("-", "_"))


PACKAGES = [Package(path.parent.name) for path in sorted(ROOT.glob("packages/*/pyproject.toml"))]
BY_IMPORT_NAME = {package.import_name: package for package in PACKAGES}


def imports(path: Path) -> list[Import]:
    """All imports of a file: at its top, in functions, under TYPE_CHECKING."""
    tree = ast.parse(path.read_text(), str(path))
    blocks = [n for n in ast.walk(tree) if isinstance(n, ast.If) and "TYPE_CHECKING" in ast.unparse(n.test)]
    typed = {line for block in blocks for line in range(block.lineno, (block.body[-1].end_lineno or 0) + 1)}
    found = [(module, line) for module, line in _imported(tree, path) if module != "__future__"]
    return [Import(module, path, line, line in typed) for module, line in found]


def named(path: Path) -> list[Import]:
    """The packages that the roof's lazy tables name in strings; nothing for files of other packages."""
    if not path.is_relative_to(ROOT / "packages/lt"):
        return []
    strings = [
        n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Constant) and isinstance(n.value, str)
    ]
    return [
        Import(node.value.replace(":", "."), path, node.lineno)
        for node in strings
        if re.fullmatch(r"\w+([.:]\w+)*", node.value) and re.split("[.:]", node.value)[0] in BY_IMPORT_NAME
    ]


def foreign(path: Path, package: Package) -> list[Import]:
    """The imports of a file that are neither the standard library's nor the package's own."""
    own = {package.import_name, *(p.stem for p in package.tests())}
    return [i for i in imports(path) + named(path) if i.top not in sys.stdlib_module_names and i.top not in own]


def _imported(tree: ast.AST, path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, path)
            if base == "torch.utils.tensorboard":  # a door that is locked without the other package
                yield "tensorboard", node.lineno
            yield from ((f"{base}.{alias.name}", node.lineno) for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            yield from ((str(a.value), node.lineno) for a in node.args[:1] if isinstance(a, ast.Constant))


def _absolute(node: ast.ImportFrom, path: Path) -> str:
    if not node.level:
        return node.module or ""
    parts = path.relative_to(next(p for p in path.parents if p.name == "src")).with_suffix("").parts
    return ".".join([*parts[: -node.level], *([node.module] if node.module else [])])
