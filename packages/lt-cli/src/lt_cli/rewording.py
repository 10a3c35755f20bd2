"""The parser library's complaints in our own voice: a sentence of fact, one of remedy."""

from __future__ import annotations

import re
from argparse import Action
from collections.abc import Callable

from lt_cli.annotation import members, spelled


def reworded(message: str, prog: str, find: Callable[[str], Action | None]) -> str:
    """The complaint as a person would say it; `find` gives the option behind a dotted key."""
    help_ = f"`{prog} --help` says what it takes."
    if denied := re.search(r"Importing '([^']+)' is not allowed", message):
        return (
            f"`{denied[1]}` is not imported: it is in none of the packages that the command line names. "
            "Wrap it in a class of your own, and name that one on the command line."
        )
    if wrong := re.search(r'Parser key "([^"]+)".*(?:Given|Got) value: (.*)', message, re.DOTALL):
        return _wrong_value(message, wrong[1], wrong[2].strip(), find(wrong[1]), help_)
    if missing := re.search(r"arguments are required: (.*)", message):
        options = " and ".join(f"`--{key}`" for key in missing[1].split(", "))
        return f"{options} must be given. {help_}"
    if bare := re.search(r"argument (\S+?)[,:].*expected .*argument", message):
        return f"`{bare[1]}` needs a value. {help_}"
    if extra := re.search(r"unrecognized arguments: (.*)", message):
        return f"`{extra[1]}` belongs to no option. Options begin with `--`."
    return f"{message.strip().rstrip('.')}. {help_}"


def _wrong_value(message: str, key: str, value: str, action: Action | None, help_: str) -> str:
    option = action.option_strings[0] if action and action.option_strings else f"--{key}"
    if nested := re.fullmatch(r"NestedArg\(key='(.*)', val='(.*)'\)", value):
        owner = re.search(r"class_path '([^']+)'", message)
        if "is not accepted" in message and owner:
            return f"`{owner[1]}` has no argument `{nested[1]}`. `{option}.help {owner[1]}` lists those it has."
        return f"`{option}.{nested[1]}` does not take {nested[2]!r}. {help_}"
    types = members(getattr(action, "_typehint", getattr(action, "type", None)))
    kinds = " or ".join(dict.fromkeys(spelled(t) for t in types)) or "another type"
    return f"`{option}` takes {kinds}, got {value!r}. {help_}"
