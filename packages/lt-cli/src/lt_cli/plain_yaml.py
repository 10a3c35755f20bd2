"""YAML without the surprises of its first edition: `10:30:00` and `no` stay text, `1e-3` is a number.

Bounded as well, since a text may come from anybody: in depth, in what its aliases expand to, each key once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
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


MAX_DEPTH = 32
MAX_NODES = 100_000


class Refused(yaml.YAMLError):  # type: ignore[misc]
    """Valid YAML that nobody writes by hand: what is wrong, the remedy, and the line from 1 if there is one."""

    def __init__(self, fact: str, remedy: str, line: int | None = None) -> None:
        super().__init__(f"it {fact}")
        self.fact, self.remedy, self.line = fact, remedy, line


class Loader(yaml.SafeLoader):  # type: ignore[misc]
    """Plain values only; tags that name code are errors."""

    yaml_implicit_resolvers: dict[str, Any] = {}

    def construct_decimal(self, node: yaml.ScalarNode) -> int:
        """Leading zeros do not make a number octal."""
        try:
            return int(node.value)
        except ValueError:
            line = node.start_mark.line + 1
            raise Refused("has a number of too many digits", "Shorten it.", line) from None


for name, (pattern, first) in NUMBERS_AND_WORDS.items():
    Loader.add_implicit_resolver(f"tag:yaml.org,2002:{name}", re.compile(f"^(?:{pattern})$"), first)
Loader.add_constructor("tag:yaml.org,2002:int", Loader.construct_decimal)


class Dumper(yaml.SafeDumper):  # type: ignore[misc]
    """Quotes what the loader, or a reader of YAML's first edition, would take for something else than text."""

    yaml_implicit_resolvers = {
        first: [*Loader.yaml_implicit_resolvers.get(first, ()), *yaml.SafeDumper.yaml_implicit_resolvers.get(first, ())]
        for first in {**Loader.yaml_implicit_resolvers, **yaml.SafeDumper.yaml_implicit_resolvers}
    }


def load(text: str) -> Any:
    """The value of a text."""
    return load_with_nodes(text)[0]


def load_with_nodes(text: str) -> tuple[Any, yaml.Node | None]:
    """The value of a text, and the nodes that it was made of, which know their lines; None for an empty text."""
    loader = Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None, None
        _check(node)
        return loader.construct_document(node), node
    except RecursionError:
        raise _too_deep() from None
    finally:
        loader.dispose()


def dump(value: Any) -> str:
    """A text that loads as the value, keys in their order."""
    return str(yaml.dump(value, Dumper=Dumper, sort_keys=False))


def _check(root: yaml.Node) -> None:
    # Aliases are followed each time, so what a few bytes would expand to is counted.
    count, stack = 0, [(root, 1)]
    while stack:
        node, depth = stack.pop()
        count += 1
        if depth > MAX_DEPTH:
            raise _too_deep()
        if count > MAX_NODES:
            raise Refused(f"expands to more than {MAX_NODES} values", "Shorten it.")
        if isinstance(node, yaml.MappingNode):
            _check_keys_differ(node)
        stack.extend((child, depth + 1) for child in _children(node))


def _too_deep() -> Refused:
    return Refused(f"is nested more than {MAX_DEPTH} levels deep", "Flatten it.")


def _check_keys_differ(node: yaml.MappingNode) -> None:
    seen: set[str] = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode):
            if key.value in seen and key.value != "<<":
                line = key.start_mark.line + 1
                raise Refused(f"has the key `{key.value}` a second time", "Remove one of the two.", line)
            seen.add(key.value)


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key
            yield value
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value
