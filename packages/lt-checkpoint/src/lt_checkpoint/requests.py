"""What a pickle asks for, read off its instructions without following any of them.

The list of what may be asked for is closed: unlike torch's own it holds no constructors that allocate or set
attributes, and no library can widen it behind the reader's back.
"""

import pickletools
from dataclasses import dataclass, field
from typing import Any

import torch

STORAGES = {
    "torch.BFloat16Storage": 2,
    "torch.BoolStorage": 1,
    "torch.ByteStorage": 1,
    "torch.CharStorage": 1,
    "torch.ComplexDoubleStorage": 16,
    "torch.ComplexFloatStorage": 8,
    "torch.DoubleStorage": 8,
    "torch.FloatStorage": 4,
    "torch.HalfStorage": 2,
    "torch.IntStorage": 4,
    "torch.LongStorage": 8,
    "torch.ShortStorage": 2,
    "torch.storage.UntypedStorage": 1,
}
"""Bytes of one element of each storage class."""

ALLOWED = frozenset(
    {
        "__builtin__.complex",  # Python 2's name for builtins, which protocol 2 writes
        "__builtin__.set",
        "_codecs.encode",  # bytes
        "collections.Counter",
        "collections.OrderedDict",
        "torch.Size",
        "torch.device",
        "torch._utils._rebuild_parameter",
        "torch._utils._rebuild_sparse_tensor",
        "torch._utils._rebuild_tensor_v2",
        "torch._utils._rebuild_tensor_v3",
        "torch.serialization._get_layout",
        *STORAGES,
        *(str(value) for value in vars(torch).values() if isinstance(value, torch.dtype)),
    }
)

_UNKNOWN = "pickle instructions that torch.save does not write"
_CONSTANTS = frozenset({"BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1"})
_PLAIN_VALUES = frozenset(
    {
        "PROTO",
        "STOP",
        "EMPTY_DICT",
        "EMPTY_LIST",
        "EMPTY_TUPLE",
        "EMPTY_SET",
        "TUPLE1",
        "TUPLE2",
        "TUPLE3",
        "NONE",
        "NEWTRUE",
        "NEWFALSE",
        "BINFLOAT",
    }
)
_BUILDERS = frozenset({"APPEND", "APPENDS", "SETITEM", "SETITEMS", "REDUCE", "BUILD"})


@dataclass(slots=True)
class Requests:
    """The names a pickle imports and the storages it reads, with the bytes it takes each to have."""

    names: set[str] = field(default_factory=set)
    storages: dict[str, int] = field(default_factory=dict)

    @property
    def refused(self) -> list[str]:
        """The names that are not allowed."""
        return sorted(self.names - ALLOWED)


def read_requests(pickle: bytes) -> Requests:
    """What the pickle asks for; ValueError if it is cut short or no pickle."""
    found = Requests()
    memo: dict[int, Any] = {}
    top: Any = None  # the last value, where it is a constant or a tuple of constants
    run: list[Any] | None = None  # the constants since the last mark, None once there is anything else
    constants: list[str] = ["", ""]
    arg: Any
    for opcode, arg, _ in pickletools.genops(pickle):
        name = opcode.name
        if name in ("BINPUT", "LONG_BINPUT"):
            memo[arg] = top
            continue
        if name in ("BINGET", "LONG_BINGET"):
            top = memo.get(arg)
        elif name in _CONSTANTS:
            top = arg
        elif name == "GLOBAL":
            top = arg.replace(" ", ".", 1)
            found.names.add(top)
        elif name in ("MARK", "TUPLE"):
            top = tuple(run) if name == "TUPLE" and run is not None else None
            run = [] if name == "MARK" else None
            continue
        elif name == "BINPERSID":
            _add_storage(found, top)
            top = None
        elif name == "PROTO" and arg != 2:
            found.names.add(f"pickle protocol {arg}")
        elif name in _PLAIN_VALUES or name in _BUILDERS:
            top = None
        else:
            found.names.add(_foreign(name, arg, constants))
        if isinstance(arg, str):
            constants = [constants[1], arg]
        if top is None:
            run = None
        elif run is not None:
            run.append(top)
    return found


def _add_storage(found: Requests, pid: Any) -> None:
    match pid:
        case ("storage", str(kind), str(key), str(), int(count)) if count >= 0:
            found.names.add(kind)
            needs = count * STORAGES.get(kind, 1)
            found.storages[key] = max(needs, found.storages.get(key, 0))
        case _:
            found.names.add(_UNKNOWN)


def _foreign(opcode: str, arg: Any, constants: list[str]) -> str:
    """A name for an instruction that torch never writes."""
    if opcode == "STACK_GLOBAL":
        return ".".join(constants)
    if opcode == "INST":
        return str(arg).replace(" ", ".", 1)
    return _UNKNOWN
