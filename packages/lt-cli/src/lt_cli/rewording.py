"""The parser library's complaints in our own voice: a sentence of fact, one of remedy."""

from __future__ import annotations

import re
from argparse import Action
from collections.abc import Callable
from itertools import chain
from typing import NamedTuple

from lt_interfaces import did_you_mean, nearest

from lt_cli.annotation import choices, spelled
from lt_cli.argparse_arguments import get_init_arguments_and_types
from lt_cli.lazy_classes import all_class_names
from lt_cli.spelling import option_types
from lt_cli.trust import imported

CLASS_TROUBLE = re.compile(
    r"Problem with given class_path '(?P<path>[^']+)':\s+(?:Parser key \"(?P<inner>[^\"]+)\":\s+)?(?P<detail>.*)"
)


class Complaint(NamedTuple):
    """The setting it is about, as a dotted key, what is wrong, and what to do."""

    key: str | None
    fact: str
    remedy: str


def reworded(message: str, prog: str, find: Callable[[str], Action | None]) -> Complaint:
    """The complaint as a person would say it; `find` gives the option behind a dotted key."""
    help_ = f"`{prog} --help` says what it takes."
    if linked := re.search(r'Linked "(.*?)" must be given via "(.*?)"', message):
        return Complaint(None, f"`--{linked[1]}` is set by `{linked[2]}`", f"Give `--{linked[2]}` instead.")
    if missing := re.search(r"Interpolation key '([^']+)' not found", message):
        return Complaint(None, f"`${{{missing[1]}}}` in a config file names no setting", "Name one of the same file.")
    if wrong := re.search(r'Parser key "([^"]+)".*(?:Given|Got) value: (.*)', message, re.DOTALL):
        return _wrong_value(message, wrong[1], wrong[2].strip(), find(wrong[1]), help_)
    if denied := re.search(r"Importing '([^']+)' is not allowed", message):
        return _denied(None, denied[1])
    if missing := re.search(r"arguments are required: (.*)", message):
        options = " and ".join(f"`--{key}`" for key in missing[1].split(", "))
        return Complaint(None, f"{options} must be given", help_)
    if bare := re.search(r"argument (\S+?)[,:].*expected .*argument", message):
        return Complaint(None, f"`{bare[1]}` needs a value", help_)
    if extra := re.search(r"unrecognized arguments: (.*)", message):
        return Complaint(None, f"`{extra[1]}` belongs to no option", "Options begin with `--`.")
    return Complaint(None, message.strip().rstrip("."), help_)


def _denied(key: str | None, path: str) -> Complaint:
    package = path.partition(".")[0]
    return Complaint(
        key,
        f"`{path}` is not imported: it is in none of the packages that the command line names",
        f"If you trust it, add `--import {package}`, or in a script of your own `import {package}`.",
    )


def _wrong_value(message: str, key: str, value: str, action: Action | None, help_: str) -> Complaint:
    option = action.option_strings[0] if action and action.option_strings else f"--{key}"
    types = option_types(action)
    nested = re.fullmatch(r"NestedArg\(key='(.*)', val='(.*)'\)", value)
    for trouble in CLASS_TROUBLE.finditer(message):
        if complaint := _wrong_argument(key, option, **trouble.groupdict(), value=nested and nested[2]):
            return complaint
    if denied := re.search(r"Importing '([^']+)' is not allowed", message):
        return _denied(key, denied[1])
    if unknown := re.search(r"Expected a dot import path string: (\S+)", message):
        names = all_class_names(types)
        if unknown[1] in names:
            return Complaint(key, f"`{unknown[1]}` is not at the top of its module", "Move it there to be named.")
        return Complaint(key, f"`{option}` knows no class `{unknown[1]}`", did_you_mean(unknown[1], names))
    if nested:
        return Complaint(
            key, f"`{option}.{nested[1]}` belongs to no class", f"Name the class first, with `{option} CLASS`."
        )
    kinds = " or ".join(dict.fromkeys(spelled(t) for t in types)) or "another type"
    if meant := nearest(value, map(str, chain.from_iterable(map(choices, types)))):
        help_ = f"Did you mean `{meant}`?"
    return Complaint(key, f"`{option}` takes {kinds}, got {value!r}", help_)


def _wrong_argument(
    key: str, option: str, path: str, inner: str | None, detail: str, value: str | None
) -> Complaint | None:
    """What is wrong with an argument of a class; None if the class itself is the trouble."""
    name = path.rpartition(".")[2]
    if refused := re.match(r"(?:Option|Key) '([^']+)' is not (?:accepted|expected)", detail):
        argument = refused[1].removeprefix("init_args.")
        cls = imported(path)
        known = [] if cls is None else [name for name, _, _ in get_init_arguments_and_types(cls)]
        if cls is not None and not known:
            return None  # the base class, which nobody named
        remedy = did_you_mean(argument, known) if known else f"`{option}.help {name}` lists those it has."
        return Complaint(f"{key}.{argument}", f"`{name}` has no argument `{argument}`", remedy)
    if missing := re.search(r"arguments are required: (.*)", detail):
        options = " and ".join(f"`{option}.{argument}`" for argument in missing[1].split(", "))
        return Complaint(key, f"`{name}` needs {options}", f"`{option}.help {name}` says what it is.")
    if inner and (expected := re.search(r"Expected an? (.*?)\.? Got value: (.*)", detail)):
        kind = re.sub(r"<class '([^']*)'>", r"\1", expected[1])
        fact = f"`{option}.{inner}` takes {kind}, got {expected[2]!r}"
        return Complaint(f"{key}.{inner}", fact, f"`{option}.help {name}` says what it is.")
    if inner and not detail.startswith("Importing"):
        fact = f"`{option}.{inner}` does not take {value!r}" if value else f"`{option}.{inner}` has a wrong type"
        return Complaint(f"{key}.{inner}", fact, f"`{option}.help {name}` says what it is.")
    return None
