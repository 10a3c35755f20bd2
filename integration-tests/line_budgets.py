"""Sizes above which a file or function should be split, or say why not."""

import ast

from source_tree import PACKAGES, ROOT, Package

FILE = 300
FUNCTION = 40
INIT = 40
PACKAGE = 1500


def over_budget() -> list[str]:
    """One line for each package, file and function over its budget."""
    return [line for package in PACKAGES for line in _of_package(package)]


def _of_package(package: Package) -> list[str]:
    found = []
    total = 0
    for path in package.modules():
        text = path.read_text()
        where = path.relative_to(ROOT / "packages")
        lines = text.count("\n")
        total += lines
        limit = INIT if path.name == "__init__.py" else FILE
        if lines > limit:
            found.append(f"{where}: {lines} lines, guide {limit}")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > FUNCTION:
                    found.append(f"{where}:{node.lineno}: `{node.name}` {length} lines, guide {FUNCTION}")
    if total > PACKAGE:
        found.append(f"{package.name}: {total} lines in all, guide {PACKAGE}")
    return found
