"""A class's arguments as options of a plain argparse parser, and back: the old style, over any class."""

from __future__ import annotations

import ast
import inspect
import os
import re
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable
from typing import Any, TypeVar, get_type_hints

T = TypeVar("T")
Kinds = tuple[type, ...]

SIMPLE: Kinds = (bool, int, float, str)
TRUTH = {"true": True, "false": False}
WORDS = {**TRUTH, "yes": True, "on": True, "y": True, "1": True, "no": False, "off": False, "n": False, "0": False}


def add_argparse_args(cls: type, parent_parser: ArgumentParser, use_argument_group: bool = True) -> ArgumentParser:
    """The parser, extended by one `--name` for each argument of the class that text can give."""
    target = parent_parser.add_argument_group(cls.__qualname__) if use_argument_group else parent_parser
    texts = _docstring_arguments(cls)
    for name, kinds, default, optional in _arguments(cls):
        if not kinds:
            continue
        given: dict[str, Any] = {"nargs": "?", "const": True} if bool in kinds else {}
        if default is inspect.Parameter.empty:
            given["required"] = True
        else:
            given["default"] = default
        target.add_argument(f"--{name}", type=_reader(kinds, optional), help=texts.get(name), **given)
    return parent_parser


def from_argparse_args(cls: type[T], args: Namespace | ArgumentParser, **kwargs: Any) -> T:
    """An instance made from those parsed arguments that the class takes; `kwargs` win."""
    names = {name for name, _, _ in get_init_arguments_and_types(cls)}
    parsed = vars(parse_argparser(cls, args))
    return cls(**{**{name: value for name, value in parsed.items() if name in names}, **kwargs})


def parse_argparser(cls: type, args: Namespace | ArgumentParser) -> Namespace:
    """The arguments parsed, bool flags without a value made True."""
    parsed = vars(args.parse_args() if isinstance(args, ArgumentParser) else args)
    bare = {
        name
        for name, kinds, default in get_init_arguments_and_types(cls)
        if bool in kinds and default is not None and parsed.get(name, default) is None
    }
    return Namespace(**{**parsed, **dict.fromkeys(bare, True)})


def env_arguments(cls: type, prefix: str | tuple[str, ...] = ("PL_TRAINER_", "LT_TRAINER_")) -> dict[str, Any]:
    """Arguments of the class found in the environment as `<prefix><NAME>`; a later prefix wins."""
    prefixes = (prefix,) if isinstance(prefix, str) else prefix
    if not any(variable.startswith(prefixes) for variable in os.environ):
        return {}
    names = [name for name, _, _ in get_init_arguments_and_types(cls)]
    variables = {name: [p + name.upper() for p in prefixes] for name in names}
    return {n: _literal(os.environ[v]) for n, candidates in variables.items() for v in candidates if v in os.environ}


def get_init_arguments_and_types(cls: type) -> list[tuple[str, Kinds, Any]]:
    """Name, simple types and default of each argument; base classes' too where `**kwargs` passes them on."""
    return [(name, kinds, default) for name, kinds, default, _ in _arguments(cls)]


def _arguments(cls: type) -> list[tuple[str, Kinds, Any, bool]]:
    """As `get_init_arguments_and_types`, and whether None is a value too."""
    found: dict[str, tuple[str, Kinds, Any, bool]] = {}
    for owner in cls.__mro__:
        init = vars(owner).get("__init__")
        if not inspect.isfunction(init):
            continue
        hints = _hints(init)
        parameters = list(inspect.signature(init).parameters.values())[1:]
        for p in parameters:
            if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and p.name not in found:
                hint = hints.get(p.name, p.annotation)
                optional = p.default is None or bool(re.search(r"\bNone\b|Optional\[", str(hint)))
                found[p.name] = (p.name, _kinds(hint, p.default), p.default, optional)
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return list(found.values())


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    # Names that exist for type checkers only cannot be resolved; the text of the annotation has to do then.
    try:
        return get_type_hints(function)
    except (NameError, TypeError, AttributeError):
        return {}


def _kinds(annotation: Any, default: Any) -> Kinds:
    if annotation is inspect.Parameter.empty:
        return (type(default),) if isinstance(default, SIMPLE) else ()
    if annotation is Any or annotation == "Any":
        return SIMPLE
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    bracket = re.compile(r"([\w.]*)\[([^\[\]]*)\]")
    while bracket.search(text):
        text = bracket.sub(_without_brackets, text)
    text = text.replace("Path", "str")
    return tuple(kind for kind in SIMPLE if re.search(rf"\b{kind.__name__}\b", text))


def _without_brackets(match: re.Match[str]) -> str:
    name = match[1].rpartition(".")[2]
    if name in ("Union", "Optional", "Annotated"):
        return f"({match[2]})"
    return "str" if name == "Literal" else "object"


def _reader(kinds: Kinds, optional: bool) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        if optional and text.lower() in ("none", "null"):
            return None
        for kind in (int, float):
            if kind in kinds:
                try:
                    return kind(text)
                except ValueError:
                    pass
        words = TRUTH if str in kinds else WORDS
        if bool in kinds and text.lower() in words:
            return words[text.lower()]
        if str in kinds:
            return text
        raise ArgumentTypeError(f"takes {' or '.join(kind.__name__ for kind in kinds)}, got {text!r}")

    return read


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _docstring_arguments(cls: type) -> dict[str, str]:
    """What the `Args:` sections of the class and its bases say of each argument, on one line."""
    section = re.compile(r"^Args:\n((?:[ \t]+.*\n?|\n)+)", re.MULTILINE)
    argument = re.compile(r"^ {4}(\w+)[^:\n]*:(.*(?:\n(?: {5,}.*)?)*)", re.MULTILINE)
    texts: dict[str, str] = {}
    for owner in cls.__mro__[:-1]:
        for documented in (owner, vars(owner).get("__init__")):
            found = section.search(inspect.cleandoc(documented.__doc__ or "") if documented else "")
            for match in argument.finditer(found[1] if found else ""):
                texts.setdefault(match[1], " ".join(match[2].split()).replace("%", "%%"))
    return texts
