"""Which failures are told in a sentence, and which need their traceback."""

from __future__ import annotations

import dis
import sys
from collections.abc import Iterable

from lt_interfaces import rank_zero_only

SAID_IN_A_SENTENCE = (ValueError, TypeError, RuntimeError, OSError, ImportError)


class UsageError(ValueError):
    """The command line or a config file asks for something that does not exist."""


@rank_zero_only
def complain(message: str) -> None:
    """Write a sentence to standard error, once per job."""
    print(message, file=sys.stderr)


def packages_of(*classes: type | None) -> set[str]:
    """Top-level packages of the classes and of all their bases."""
    return {base.__module__.partition(".")[0] for cls in classes if cls for base in cls.__mro__} - {"builtins"}


def packages_of_lt(names: Iterable[str]) -> set[str]:
    """Those of the names that are lt or begin like its packages."""
    return {name for name in names if name == "lt" or name.startswith("lt_")}


def is_deliberate(error: BaseException, packages: Iterable[str], through_others: bool = False) -> bool:
    """True if the error is a `raise` statement of these packages, so that its message was written for people.

    The packages of lt always count as well. Unless `through_others`, any frame of other code on the way (a user's
    hook, say) makes it False: then the traceback shows where the call came from. The standard library and torch
    are nobody's code here.
    """
    ours, owners, instruction = set(packages), [""], ""
    step = error.__traceback__
    while step is not None:
        owners.append(str(step.tb_frame.f_globals.get("__name__", "")).partition(".")[0])
        instruction = dis.opname[step.tb_frame.f_code.co_code[step.tb_lasti]]
        step = step.tb_next
    ours |= packages_of_lt(owners)
    foreign = set(owners[1:]) - ours - {"torch"} - sys.stdlib_module_names
    if not isinstance(error, SAID_IN_A_SENTENCE) or (foreign and not through_others):
        return False
    return owners[-1] in ours and instruction == "RAISE_VARARGS"
