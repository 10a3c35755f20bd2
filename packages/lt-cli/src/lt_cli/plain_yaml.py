"""YAML without the surprises of its first edition: `10:30:00` and `no` stay text, `1e-3` is a number."""

from __future__ import annotations

import re
from typing import Any

import yaml  # type: ignore[import-untyped]

NUMBERS_AND_WORDS = {
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    "int": (r"[-+]?[0-9]+", list("-+0123456789")),
    "float": (
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    "merge": (r"<<", ["<"]),
}


class Loader(yaml.SafeLoader):  # type: ignore[misc]
    """Plain values only; tags that name code are errors."""

    yaml_implicit_resolvers: dict[str, Any] = {}

    def construct_decimal(self, node: yaml.ScalarNode) -> int:
        """Leading zeros do not make a number octal."""
        return int(node.value)


for name, (pattern, first) in NUMBERS_AND_WORDS.items():
    Loader.add_implicit_resolver(f"tag:yaml.org,2002:{name}", re.compile(f"^(?:{pattern})$"), first)
Loader.add_constructor("tag:yaml.org,2002:int", Loader.construct_decimal)


class Dumper(yaml.SafeDumper):  # type: ignore[misc]
    """Quotes what the loader would take for something else than text."""

    yaml_implicit_resolvers = Loader.yaml_implicit_resolvers


def load(text: str) -> Any:
    """The value of a text."""
    return yaml.load(text, Loader=Loader)  # noqa: S506 (a safe loader)


def dump(value: Any) -> str:
    """A text that loads as the value, keys in their order."""
    return str(yaml.dump(value, Dumper=Dumper, sort_keys=False))
