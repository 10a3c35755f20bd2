"""Hyperparameters from a file that people edit: YAML, JSON or CSV. Nothing in it is executed."""

import ast
import csv
import io
import json
import re
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any

_MAX_BYTES = 1 << 20
_MAX_NODES = 100_000
_MAX_DEPTH = 32


def read_hparams_file(path: str | PathLike[str]) -> dict[str, Any]:
    """The hyperparameters in a `.yaml`, `.yml`, `.json` or `.csv` file (columns `key` and `value`)."""
    path = Path(path)
    if path.suffix not in _PARSERS:
        raise ValueError(f"`hparams_file` cannot be {str(path)!r}. Pass a .yaml, .yml, .json or .csv file.")
    if path.stat().st_size > _MAX_BYTES:
        raise ValueError(f"`hparams_file` {str(path)!r} is larger than {_MAX_BYTES} bytes. Keep only values in it.")
    try:
        content = _PARSERS[path.suffix](path.read_text(encoding="utf-8"))
        _check_size(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"`hparams_file` {str(path)!r} is not plain data: {error}. Keep only values in it.") from error
    if content is not None and not isinstance(content, dict):
        raise ValueError(f"`hparams_file` {str(path)!r} holds a {type(content).__name__}. Write `name: value` lines.")
    return content or {}


def _csv(text: str) -> dict[str, Any]:
    rows = csv.reader(io.StringIO(text, newline=""))
    return {row[0]: _literal(row[1]) for row in list(rows)[1:] if len(row) == 2}


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _yaml(text: str) -> Any:
    try:
        import yaml  # type: ignore[import-untyped,unused-ignore]
    except ImportError as error:
        raise ImportError("Reading `hparams_file` needs PyYAML. Run `pip install lt-module[yaml]`.") from error

    class Loader(yaml.SafeLoader):  # type: ignore[misc,unused-ignore]
        """Plain values, and two kinds more: tuples as Lightning's files tag them, and floats such as `1e-3`."""

    Loader.add_constructor(
        "tag:yaml.org,2002:python/tuple", lambda loader, node: tuple(loader.construct_sequence(node))
    )
    Loader.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
    )
    try:
        return yaml.load(text, Loader=Loader)  # noqa: S506
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


_PARSERS: dict[str, Callable[[str], Any]] = {".yaml": _yaml, ".yml": _yaml, ".json": json.loads, ".csv": _csv}


def _check_size(content: Any) -> None:
    """Count nodes with aliases written out, so that a small file cannot stand for a huge structure."""
    nodes, pending = 0, [(content, 0)]
    while pending:
        value, depth = pending.pop()
        nodes += 1
        if nodes > _MAX_NODES or depth > _MAX_DEPTH:
            raise RecursionError("it is nested too deeply or stands for too many values")
        children = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
        pending.extend((child, depth + 1) for child in children)
