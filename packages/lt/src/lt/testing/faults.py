"""Faults to put a training through: a kill, a poisoned batch, a hook that raises, files that fail, a full disk."""

import builtins
import errno
import io
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from lt_data.structure import leaves
from lt_interfaces import CALLBACK_HOOKS, Callback, did_you_mean

CALLS = ("open", "fsync", "replace", "rename", "link", "unlink", "mkdir")
"""What the functions of `os` are called by which files come and go."""


class KilledAt(Callback):
    """The process kills itself after an optimizer step, once, without a word; another signal asks it to stop.

    Give it a file to leave behind, so that the run that is started again is not killed at the same place.
    """

    def __init__(self, step: int, once: str | os.PathLike[str] | None = None, by: int = signal.SIGKILL) -> None:
        self.step, self.once, self.by = step, once, by

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step != self.step:
            return
        if self.once is not None:
            with suppress(FileExistsError):
                os.close(os.open(self.once, os.O_CREAT | os.O_EXCL))
                os.kill(os.getpid(), self.by)
            return
        os.kill(os.getpid(), self.by)


class PoisonedBatch(Callback):
    """The floating-point tensors of one training batch, counted from 0 over all epochs, hold nothing but `value`."""

    def __init__(self, at: int, value: float = float("nan")) -> None:
        self.at, self.value, self.seen = at, value, 0

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if self.seen == self.at:
            for leaf in leaves(batch):
                if isinstance(leaf, torch.Tensor) and leaf.is_floating_point():
                    leaf.fill_(self.value)
        self.seen += 1

    def state_dict(self) -> dict[str, Any]:
        return {"seen": self.seen}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.seen = state_dict["seen"]


class RaisesIn(Callback):
    """A callback that raises `error` when a hook is called for the nth time.

    >>> RaisesIn("on_train_batch_end", nth=3, error=RuntimeError("no disk"))
    RaisesIn('on_train_batch_end', nth=3)
    """

    def __init__(self, hook: str, nth: int = 1, error: BaseException | None = None) -> None:
        if hook not in CALLBACK_HOOKS:
            raise ValueError(f"There is no hook `{hook}`. {did_you_mean(hook, CALLBACK_HOOKS)}")
        self.hook, self.nth, self.calls = hook, nth, 0
        self.error = RuntimeError(f"`{hook}` was told to fail.") if error is None else error
        setattr(self, hook, self._called)

    def _called(self, *args: Any, **kwargs: Any) -> None:
        self.calls += 1
        if self.calls == self.nth:
            raise self.error

    def __repr__(self) -> str:
        return f"RaisesIn({self.hook!r}, nth={self.nth})"


@contextmanager
def failing_files(
    folder: str | os.PathLike[str], call: str = "fsync", nth: int = 1, error: int = errno.EIO, forever: bool = False
) -> Iterator[Callable[[], int]]:
    """Inside, the nth call of `os.open`, `os.fsync`, ... for something below the folder fails, as a broken disk does.

    Gives a function that says how many calls there were, so that a test can go through all of them: `nth` from 1 until
    that number is smaller. What C code does behind Python's back is not seen.

    Args:
        folder: Files and folders below it are hit.
        call: Name of the function: "open", "fsync", "replace", "rename", "link", "unlink" or "mkdir".
        nth: Which call fails, from 1.
        error: An error number of `errno`: EIO, ENOSPC, EROFS, EACCES, EDQUOT.
        forever: Whether all later calls fail, too.
    """
    if call not in CALLS:
        raise ValueError(f"`call` cannot be {call!r}. {did_you_mean(call, CALLS)}")
    root, function, calls = os.path.realpath(folder), getattr(os, call), 0

    def faulty(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        if _below(root, args[-1] if call == "link" else args[0], kwargs):
            calls += 1
            if calls == nth or (forever and calls > nth):
                raise OSError(error, os.strerror(error), None if isinstance(args[0], int) else os.fspath(args[0]))
        return function(*args, **kwargs)

    setattr(os, call, faulty)
    try:
        yield lambda: calls
    finally:
        setattr(os, call, function)


@contextmanager
def full_disk(folder: str | os.PathLike[str], free_bytes: int = 0) -> Iterator[None]:
    """Inside, no more than `free_bytes` can be written to files that Python opens below the folder; then ENOSPC.

    Files that were open before are not hit, nor is what is written from C.
    """
    root, left = os.path.realpath(folder), free_bytes
    opened, python_opened = io.open, builtins.open

    def limited(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        found = opened(file, mode, *args, **kwargs)
        if set(mode) & set("wax+") and _below(root, file, {}):
            write = found.write

            def limited_write(data: Any) -> Any:
                nonlocal left
                size = len(data.encode()) if isinstance(data, str) else memoryview(data).nbytes
                if size > left:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(found.name))
                left -= size
                return write(data)

            return _Limited(found, limited_write)
        return found

    io.open = builtins.open = limited
    try:
        yield
    finally:
        io.open, builtins.open = opened, python_opened


class _Limited:
    """A file whose `write` is another."""

    def __init__(self, file: Any, write: Callable[[Any], Any]) -> None:
        self._file, self.write = file, write

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> "_Limited":
        return self

    def __exit__(self, *error: Any) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[Any]:
        return iter(self._file)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)


def _below(root: str, file: Any, where: dict[str, Any]) -> bool:
    """Whether a path, or what a descriptor stands for, is the folder or below it."""
    near = next((where[k] for k in ("dst_dir_fd", "dir_fd", "src_dir_fd") if where.get(k) is not None), None)
    if isinstance(file, int):
        path = _path_of(file)
    elif near is not None and not os.path.isabs(file):
        path = os.path.join(_path_of(near), os.fspath(file))
    else:
        path = os.path.join(os.path.realpath(os.path.dirname(os.fspath(file)) or "."), os.path.basename(file))
    return path == root or path.startswith(root + os.sep)


def _path_of(descriptor: int) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        return str(Path(f"/dev/fd/{descriptor}"))
