"""The arguments that a checkpoint's model was made with, as defaults for making it again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lt_interfaces import CheckpointError

from lt_cli.annotation import named_member
from lt_cli.class_reference import registered
from lt_cli.parser import LightningArgumentParser


def stored_arguments(args: Any) -> dict[str, Any]:
    """The plain hyperparameters in the file that `--ckpt_path` names; none if it is no file, or cannot be read."""
    path = _last_value("--ckpt_path", args) if isinstance(args, list) else args.get("ckpt_path")
    if path is None or not Path(path).is_file() or (load := registered("checkpoint")) is None:
        return {}
    try:
        stored = load(path, "meta").get("hyper_parameters") or {}
    except (CheckpointError, OSError):
        return {}  # the trainer will say what is wrong with it
    return {name: value for name, value in stored.items() if is_plain(value)}


def known_settings(parser: LightningArgumentParser, group: str, values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Those of the values that are settings of the group, as the parser takes them: enums by name, tables in parts."""
    keys = parser.keys()
    for name, value in values.items():
        key = f"{group}.{name}"
        if isinstance(value, dict) and any(known.startswith(f"{key}.") for known in keys):
            yield from known_settings(parser, key, value)
        elif key in keys:
            yield key, named_member(parser.types_of(key), value)


def is_plain(value: Any) -> bool:
    """True for numbers, text, None and lists and tables of them."""
    if isinstance(value, list | tuple):
        return all(is_plain(item) for item in value)
    if isinstance(value, dict):
        return all(isinstance(key, str) and is_plain(item) for key, item in value.items())
    return value is None or isinstance(value, bool | int | float | str)


def _last_value(option: str, args: list[str]) -> str | None:
    found = None
    for argument, following in zip(args, [*args[1:], None], strict=False):
        name, equals, value = argument.partition("=")
        if name == option:
            found = value if equals else following
    return found
