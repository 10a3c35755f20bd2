"""Reading a config file that may come from anybody: plain data, bounded in size, every key known.

A config file brings values. The one class name that it may repeat, `class_path` of the model, data or trainer, must be
the one chosen on the command line, and nothing is imported for it.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml  # type: ignore[import-untyped]

from lt_cli.class_reference import same_class
from lt_cli.failures import UsageError
from lt_cli.option_names import nearest_key
from lt_cli.plain_yaml import Loader, Refused, dump, load_with_nodes

MAX_BYTES = 1_000_000
WRITTEN_BY = re.compile(r"# (\w+==\S+)\n")


def read_config(
    path: str,
    known: Collection[str],
    classes: Mapping[str, str],
    command: str | None = None,
    version: str | None = None,
) -> dict[str, Any]:
    """The values of a YAML, JSON or TOML file, its keys checked against the `known` dotted ones.

    `classes` are the references in force, by group; `class_path` and `init_args` in a group become plain values. A file
    for several commands has a table for each; that of `command` is taken. `version` is what a saved config would name.
    """
    try:
        values, node = load_with_nodes(_as_yaml(path))
    except Refused as error:
        where = f"{path}:{error.line}" if error.line else path
        raise UsageError(f"`{where}` {error.fact}. {error.remedy}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where, problem = (f"{path}:{mark.line + 1}", error.problem) if mark else (path, " ".join(str(error).split()))
        raise UsageError(f"`{where}` is not valid YAML: {problem}. Mend the file.") from None
    if node is None:
        return {}
    if not isinstance(values, dict):
        raise UsageError(f"`{path}` holds no table of settings. Write `name: value` lines.")
    if command in values and command not in known:
        node = next(value for key, value in node.value if key.value == command)
        values = values[command] or {}
        if not isinstance(values, dict):
            line = node.start_mark.line + 1
            raise UsageError(
                f"`{path}:{line}` gives `{command}` no table of settings. Write `name: value` lines in it."
            )
    found: dict[str, Any] = values
    groups = {key[: dot.start()] for key in known for dot in re.finditer(r"\.", key)}
    if isinstance(node, yaml.MappingNode):
        _check_keys(node, "", _Source(path, version), {*known, *groups}, groups)
    for group, reference in classes.items():
        if isinstance(found.get(group), dict):
            found[group] = _unwrap(found[group], group, reference, path)
    return found


def line_of(path: str, key: str) -> int | None:
    """The line, from 1, of a dotted key; the arguments of a class follow its own key directly, as in options."""
    if _is_toml(path):
        name = re.escape(key.rpartition(".")[2])
        found = re.search(rf"""^[ \t\[]*(?:[\w.]+\.)?["']?{name}["']?\]?[ \t]*(?:=|$)""", _read(path), re.MULTILINE)
        return found and _read(path)[: found.start()].count("\n") + 1
    text = _read(path).replace("\t", " ") if _is_json(path) else _read(path)
    stack: list[tuple[yaml.Node | None, str]] = [(yaml.compose(text, Loader=Loader), "")]
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


class _Source(NamedTuple):
    """A file and what reads it, for the words about a key that does not exist."""

    path: str
    version: str | None

    def place(self, name: str, node: yaml.Node) -> str:
        """File and line of a key."""
        converted = _is_toml(self.path) or _is_json(self.path)
        line = line_of(self.path, name) if converted else node.start_mark.line + 1
        return f"{self.path}:{line}"

    def age(self) -> str:
        """What to add if the file was written by another version."""
        writer = WRITTEN_BY.match(_read(self.path))
        if writer is None or self.version is None or writer[1] == self.version:
            return ""
        return f" The file is from {writer[1]} and this is {self.version}: what a setting is called may have changed."


def _is_toml(path: str) -> bool:
    return path.endswith(".toml")


def _is_json(path: str) -> bool:
    return path.endswith(".json")


def _as_yaml(path: str) -> str:
    text = _read(path)
    try:
        if _is_toml(path):
            return dump(tomllib.loads(text))
        if _is_json(path):
            return dump(json.loads(text, object_pairs_hook=_each_once))
    except RecursionError:
        raise Refused("is nested too deep", "Flatten it.") from None
    except (tomllib.TOMLDecodeError, json.JSONDecodeError) as error:
        kind = "TOML" if _is_toml(path) else "JSON"
        raise UsageError(f"`{path}` is not valid {kind}: {error}. Mend the file.") from None
    return text


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        twice = next(key for n, (key, _) in enumerate(pairs) if key in dict(pairs[:n]))
        raise Refused(f"has the key `{twice}` a second time", "Remove one of the two.")
    return table


def _read(path: str) -> str:
    file = Path(path)
    if re.match(r"[a-z][a-z0-9+.-]+://", path):
        raise UsageError(
            f"`{path}` is not read: settings from the network can change between two runs, and be anybody's. "
            "Download the file and name it."
        )
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


def _check_keys(node: yaml.MappingNode, prefix: str, source: _Source, known: set[str], groups: set[str]) -> None:
    for key, value in node.value:
        name = f"{prefix}{key.value}"
        if prefix and key.value == "class_path":
            continue
        if key.value == "<<" or (prefix and key.value == "init_args" and name not in known):
            name = prefix.rstrip(".")
        elif name not in known:
            match = nearest_key(name, known)
            remedy = f"Did you mean `{match}`?" if match else "`--print_config` shows all keys."
            raise UsageError(f"`{name}` is no setting ({source.place(name, key)}). {remedy}{source.age()}")
        if (name in groups or not name) and isinstance(value, yaml.MappingNode):
            _check_keys(value, f"{name}." if name else "", source, known, groups)


def _unwrap(values: dict[str, Any], group: str, reference: str, path: str) -> dict[str, Any]:
    named = values.pop("class_path", None)
    if named is not None and not same_class(str(named), reference):
        raise UsageError(
            f"`{path}` is about the {group} class `{named}`, but `{reference}` is in force. "
            f"Add `--{group} {named}` if you trust it: a file alone never decides what is imported."
        )
    arguments = values.pop("init_args", None) or {}
    return {**values, **arguments}
