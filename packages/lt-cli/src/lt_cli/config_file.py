"""Reading a config file that may come from anybody: plain data, bounded in size, every key known.

A config file brings values. The one class name that it may repeat, `class_path` of the model, data or trainer, must be
the one chosen on the command line, and nothing is imported for it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from lt_cli.class_reference import same_class
from lt_cli.failures import UsageError
from lt_cli.option_names import nearest_key
from lt_cli.plain_yaml import Loader, dump, load

MAX_BYTES = 1_000_000
MAX_DEPTH = 32
MAX_NODES = 100_000


def read_config(
    path: str, known: Collection[str], classes: Mapping[str, str], command: str | None = None
) -> dict[str, Any]:
    """The values of a YAML, JSON or TOML file, its keys checked against the `known` dotted ones.

    `classes` are the references in force, by group; `class_path` and `init_args` in a group become plain values. A file
    for several commands has a table for each; that of `command` is taken.
    """
    try:
        text = _as_yaml(path)
        node = yaml.compose(text, Loader=Loader)
        if node is None:
            return {}
        if not isinstance(node, yaml.MappingNode):
            raise UsageError(f"`{path}` holds no table of settings. Write `name: value` lines.")
        _check_size(node, path)
        values: dict[str, Any] = load(text)
        if command in values and command not in known:
            node = next(value for key, value in node.value if key.value == command)
            values = values[command] or {}
        groups = {key[: dot.start()] for key in known for dot in re.finditer(r"\.", key)}
        if isinstance(node, yaml.MappingNode):
            _check_keys(node, "", path, {*known, *groups}, groups)
    except RecursionError:
        raise UsageError(f"`{path}` is nested more than {MAX_DEPTH} levels deep. Flatten it.") from None
    except yaml.YAMLError as error:
        raise UsageError(f"`{path}` is not valid YAML: {' '.join(str(error).split())}. Mend the file.") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"`{path}` is not valid TOML: {error}. Mend the file.") from None
    for group, reference in classes.items():
        if isinstance(values.get(group), dict):
            values[group] = _unwrap(values[group], group, reference, path)
    return values


def line_of(path: str, key: str) -> int | None:
    """The line, from 1, of a dotted key; the arguments of a class follow its own key directly, as in options."""
    if _is_toml(path):
        name = re.escape(key.rpartition(".")[2])
        found = re.search(rf"""^[ \t\[]*(?:[\w.]+\.)?["']?{name}["']?\]?[ \t]*(?:=|$)""", _read(path), re.MULTILINE)
        return found and _read(path)[: found.start()].count("\n") + 1
    stack: list[tuple[yaml.Node | None, str]] = [(yaml.compose(_read(path), Loader=Loader), "")]
    while stack:
        node, prefix = stack.pop()
        if isinstance(node, yaml.SequenceNode):
            stack.extend((item, prefix) for item in node.value)
        for name_node, value in node.value if isinstance(node, yaml.MappingNode) else ():
            name = prefix if name_node.value == "init_args" else f"{prefix}.{name_node.value}".lstrip(".")
            if name_node.value != "init_args" and (name == key or name.partition(".")[2] == key):
                return int(name_node.start_mark.line) + 1
            stack.append((value, name))
    return None


def _is_toml(path: str) -> bool:
    return path.endswith(".toml")


def _as_yaml(path: str) -> str:
    text = _read(path)
    return dump(tomllib.loads(text)) if _is_toml(path) else text


def _read(path: str) -> str:
    file = Path(path)
    if not file.is_file():
        raise UsageError(f"There is no config file `{path}`. Give `--config` the path of a YAML, JSON or TOML file.")
    with file.open("rb") as stream:
        content = stream.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise UsageError(f"`{path}` is larger than {MAX_BYTES} bytes. A config file holds settings, not data.")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise UsageError(f"`{path}` is not UTF-8 text. Give `--config` a YAML, JSON or TOML file.") from None


def _check_size(root: yaml.Node, path: str) -> None:
    # Aliases are followed each time, so what a few bytes would expand to is counted.
    count, stack = 0, [(root, 1)]
    while stack:
        node, depth = stack.pop()
        count += 1
        if depth > MAX_DEPTH:
            raise UsageError(f"`{path}` is nested more than {MAX_DEPTH} levels deep. Flatten it.")
        if count > MAX_NODES:
            raise UsageError(f"`{path}` expands to more than {MAX_NODES} values. Shorten it.")
        stack.extend((child, depth + 1) for child in _children(node))


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key
            yield value
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value


def _check_keys(node: yaml.MappingNode, prefix: str, path: str, known: set[str], groups: set[str]) -> None:
    for key, value in node.value:
        name = f"{prefix}{key.value}"
        if prefix and key.value == "class_path":
            continue
        if key.value == "<<" or (prefix and key.value == "init_args" and name not in known):
            name = prefix.rstrip(".")
        elif name not in known:
            match = nearest_key(name, known)
            remedy = f"Did you mean `{match}`?" if match else "`--print_config` shows all keys."
            line = line_of(path, name) if _is_toml(path) else key.start_mark.line + 1
            raise UsageError(f"`{name}` is no setting ({path}:{line}). {remedy}")
        if (name in groups or not name) and isinstance(value, yaml.MappingNode):
            _check_keys(value, f"{name}." if name else "", path, known, groups)


def _unwrap(values: dict[str, Any], group: str, reference: str, path: str) -> dict[str, Any]:
    named = values.pop("class_path", None)
    if named is not None and not same_class(str(named), reference):
        raise UsageError(
            f"`{path}` is about the {group} class `{named}`, but `{reference}` is in force. "
            f"Add `--{group} {named}` if you trust it: a file alone never decides what is imported."
        )
    arguments = values.pop("init_args", None) or {}
    return {**values, **arguments}
