"""Files that would do something if anybody let them; each new finding is a row."""

import builtins
import functools
import importlib
import io
import operator
import os
import pickle
import runpy
import subprocess
import tarfile
import webbrowser
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lt_checkpoint
import torch

Write = Callable[[Path, str], None]
"""Writes the file; what it runs, if it is let, makes a file of the second name."""


class Reduced:
    """Pickles as a call of anything with any arguments."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> Any:
        return self.call


def _shell(marker: str) -> str:
    return f"touch {marker}"


def _code(marker: str) -> str:
    return f"open({marker!r}, 'w')"


GADGETS: dict[str, Callable[[str], Any]] = {
    "os.system": lambda m: Reduced(os.system, (_shell(m),)),
    "os.execv": lambda m: Reduced(os.execv, ("/usr/bin/touch", ["touch", m])),
    "os.remove": lambda m: Reduced(os.remove, (m,)),
    "eval": lambda m: Reduced(eval, (_code(m),)),
    "exec": lambda m: Reduced(exec, (_code(m),)),
    "compile": lambda m: Reduced(compile, (_code(m), "x", "exec")),
    "popen": lambda m: Reduced(subprocess.Popen, (["touch", m],)),
    "getattr chain": lambda m: Reduced(getattr, (Reduced(importlib.import_module, ("os",)), "system")),
    "attrgetter": lambda m: operator.attrgetter("a.b"),
    "partial": lambda m: functools.partial(os.system, _shell(m)),
    "map": lambda m: Reduced(map, (os.system, [_shell(m)])),
    "open": lambda m: Reduced(open, (m, "w")),
    "import": lambda m: Reduced(importlib.import_module, ("antigravity",)),
    "__import__": lambda m: Reduced(builtins.__import__, ("this",)),
    "run_path": lambda m: Reduced(runpy.run_path, (m,)),
    "browser": lambda m: Reduced(webbrowser.open, ("http://127.0.0.1:9/",)),
    "unpickled twice": lambda m: Reduced(pickle.loads, (pickle.dumps(Reduced(os.system, (_shell(m),))),)),
    "torch's nested loader": lambda m: Reduced(
        torch.storage._load_from_bytes, (pickle.dumps(Reduced(os.system, (_shell(m),))),)
    ),
    "torch.load": lambda m: Reduced(torch.load, (m,)),
    "torch.hub": lambda m: Reduced(torch.hub.load, (m, "x")),
    "allocation": lambda m: Reduced(bytearray, (10**11,)),
    "tensor allocation": lambda m: Reduced(torch.Tensor, (10**6, 10**5)),
    "set attributes": lambda m: Reduced(
        torch._utils._rebuild_parameter_with_state, (torch.ones(1), True, {}, {"x": 1})
    ),
    "a whole module": lambda m: torch.nn.Linear(1, 1),
    "an exception": lambda m: ValueError("x"),
}


def _in_zip(gadget: Callable[[str], Any], protocol: int = 2) -> Write:
    def write(path: Path, marker: str) -> None:
        state = {"state_dict": {}, "hyper_parameters": {}, "global_step": 1, "x": [gadget(marker)]}
        torch.save(state, path, pickle_protocol=protocol)

    return write


def _legacy(path: Path, marker: str) -> None:
    torch.save({"x": GADGETS["os.system"](marker)}, path, _use_new_zipfile_serialization=False)


def _bare(protocol: int) -> Write:
    def write(path: Path, marker: str) -> None:
        path.write_bytes(pickle.dumps({"x": GADGETS["os.system"](marker)}, protocol))

    return write


def _tar(path: Path, marker: str) -> None:
    """torch's oldest format."""
    with tarfile.open(path, "w") as archive:
        for name in ("pickle", "tensors", "storages", "sys_info"):
            content = pickle.dumps(GADGETS["os.system"](marker))
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def _records(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _changed(change: Callable[[dict[str, bytes], str], dict[str, bytes]], packing: int = zipfile.ZIP_STORED) -> Write:
    def write(path: Path, marker: str) -> None:
        lt_checkpoint.save({"state_dict": {"w": torch.zeros(200, dtype=torch.uint8)}, "global_step": 1}, path)
        records = change(_records(path), marker)
        with zipfile.ZipFile(path, "w", packing) as archive:
            for name, data in records.items():
                archive.writestr(name, data)

    return write


def _claims(elements: int) -> Write:
    lie = b"\x8a\x08" + elements.to_bytes(8, "little")
    pickled = "archive/data.pkl"
    return _changed(lambda r, _: r | {pickled: r[pickled].replace(b"K\xc8", lie)})


def _with_pickle(content: Callable[[str], bytes]) -> Write:
    return _changed(lambda r, marker: r | {"archive/data.pkl": content(marker)})


def _polyglot(path: Path, marker: str) -> None:
    lt_checkpoint.save({"state_dict": {}}, path)
    path.write_bytes(pickle.dumps(GADGETS["os.system"](marker), 2) + path.read_bytes())


def _foreign_shards(path: Path, marker: str) -> None:
    path.mkdir()
    (path / ".metadata").write_bytes(pickle.dumps(GADGETS["os.system"](marker)))
    (path / "__0_0.distcp").write_bytes(b"x")


def _hostile_meta(path: Path, marker: str) -> None:
    path.mkdir()
    _in_zip(GADGETS["os.system"])(path / "meta.pt", marker)
    (path / ".metadata").write_bytes(pickle.dumps(GADGETS["os.system"](marker)))


def _shards(index: dict[str, Any]) -> Write:
    def write(path: Path, marker: str) -> None:
        path.mkdir()
        lt_checkpoint.save({"global_step": 1, "state_dict": {}, "lt_shards": index}, path / "meta.pt")

    return write


def _hostile_shard(path: Path, marker: str) -> None:
    """A shard with true sums whose content is a pickle."""
    name = f"__{'0' * 16}_0_0.distcp"
    path.mkdir()
    torch.save(GADGETS["os.system"](marker), path / name)
    size, crc = lt_checkpoint.shards.measured(path / name)
    chunk = [[0], [2], name, 0, size]
    tensors = [{"path": ["state_dict", "w"], "dtype": torch.float32, "size": [2], "chunks": [chunk]}]
    index = {"files": {name: {"bytes": size, "crc32": crc}}, "tensors": tensors}
    lt_checkpoint.save({"global_step": 1, "state_dict": {"w": None}, "lt_shards": index}, path / "meta.pt")


def _outside(path: Path, marker: str) -> None:
    """A link to a hostile file elsewhere."""
    _in_zip(GADGETS["eval"])(path.with_name("elsewhere"), marker)
    path.symlink_to("elsewhere")


_OUT = {"files": {"../../etc/passwd": {"bytes": 1, "crc32": 0}}, "tensors": []}
_HUGE = {"files": {}, "tensors": [{"path": ["w"], "dtype": torch.float32, "size": [10**12], "chunks": []}]}

FILES: dict[str, Write] = {
    **{f"{name}, in a zip": _in_zip(gadget) for name, gadget in GADGETS.items()},
    **{f"os.system, in a zip of protocol {n}": _in_zip(GADGETS["os.system"], n) for n in (3, 4, 5)},
    **{f"os.system, in a bare pickle of protocol {n}": _bare(n) for n in (0, 2, 5)},
    "os.system, in torch's format before 1.6": _legacy,
    "os.system, in torch's tar format": _tar,
    "os.system, before a good file": _polyglot,
    "os.system, as text": _with_pickle(lambda m: f"cos\nsystem\n(S'{_shell(m)}'\ntR.".encode()),
    "os.system, by STACK_GLOBAL": _with_pickle(
        lambda m: b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c" + bytes([len(_shell(m))]) + _shell(m).encode() + b"\x85R."
    ),
    "os.system, by INST": _with_pickle(lambda m: f"(S'{_shell(m)}'\nios\nsystem\n.".encode()),
    "a persistent id of another kind": _with_pickle(lambda m: b"\x80\x02X\x01\x00\x00\x00xQ."),
    "an extension code": _with_pickle(lambda m: b"\x80\x02\x82\x01."),
    "a program": _changed(lambda r, m: r | {"archive/constants.pkl": b"x", "archive/code/x.py": _code(m).encode()}),
    "a name that leads out": _changed(lambda r, m: r | {f"archive/../../../{m}": b"x"}),
    "two records of one name": _changed(lambda r, _: r | {"archive/DATA.pkl": r["archive/data.pkl"]}),
    "a zip bomb": _changed(lambda r, _: r | {"archive/data/0": b"\0" * 50_000_000}, zipfile.ZIP_DEFLATED),
    "a tensor past its record": _claims(10**6),
    "a tensor larger than memory": _claims(10**15),
    "nesting without end": _with_pickle(lambda m: b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b"."),
    "a foreign sharded folder": _foreign_shards,
    "a sharded folder with a hostile meta.pt": _hostile_meta,
    "a sharded folder that names files outside": _shards(_OUT),
    "a sharded folder larger than memory": _shards(_HUGE),
    "a sharded folder with a hostile shard": _hostile_shard,
    "a link to a hostile file": _outside,
    "a pipe": lambda path, _: os.mkfifo(path),
    "a device": lambda path, _: path.symlink_to("/dev/zero"),
}

YAML: dict[str, Callable[[str], str]] = {
    "apply": lambda m: f"x: !!python/object/apply:os.system ['{_shell(m)}']",
    "new": lambda m: f"x: !!python/object/new:subprocess.Popen [['touch', '{m}']]",
    "name": lambda m: "x: !!python/name:os.system",
    "module": lambda m: "x: !!python/module:antigravity",
    "object": lambda m: "x: !!python/object:pathlib.Path {}",
    "aliases": lambda m: (
        "a: &a [x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"{b}: &{b} [{', '.join(['*' + a] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))
    ),
    "depth": lambda m: "x: " + "[" * 5000 + "]" * 5000,
}
