"""Writes down where the memory was when it ran out."""

import os
import re
import sys
from collections.abc import Iterable
from typing import Any

import torch
from lt_interfaces import Callback, Trainer, log
from lt_interfaces.whole_file import write_text
from torch import Tensor
from torch.utils._pytree import tree_leaves

from lt_callbacks.summary import sizes

PATTERN = re.compile(r"out of memory|not enough memory|can't allocate memory|cannot allocate memory", re.IGNORECASE)


class OutOfMemoryObserver(Callback):
    """Writes a report when a run ends for want of memory: what holds it, in which batch, and what may help.

    The file is `out_of_memory_rank<n>.txt` in `dirpath`, by default the run's folder. With `snapshot`, torch records
    all allocations on CUDA, which costs a little, and `out_of_memory_rank<n>.pickle` is there to be looked at in
    https://pytorch.org/memory_viz.
    """

    def __init__(self, dirpath: str | os.PathLike[str] | None = None, snapshot: bool = False) -> None:
        self.dirpath = None if dirpath is None else os.path.expanduser(dirpath)
        self.snapshot = snapshot
        self._folder = ""
        self._records = False
        self._batch: Any = None

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        self._folder = os.fspath(self.dirpath or trainer.log_dir or trainer.default_root_dir)
        self._records = self.snapshot and trainer.engine.device.type == "cuda"
        if self._records:
            torch.cuda.memory._record_memory_history(max_entries=100_000)

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self._batch = batch

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self._batch = None

    def on_exception(self, trainer: Trainer, pl_module: Any, exception: BaseException) -> None:
        if not is_out_of_memory(exception):
            return
        base = os.path.join(self._folder, f"out_of_memory_rank{trainer.engine.global_rank}")
        try:
            write_text(f"{base}.txt", report(trainer, pl_module, self._batch, exception))
            if self._records:
                torch.cuda.memory._dump_snapshot(f"{base}.pickle")  # type: ignore[no-untyped-call]
            log.warning(f"Memory ran out. Where it was: {base}.txt")
        except Exception as error:  # the exception itself must come through
            log.warning(f"The report on memory, {base}.txt, could not be written: {error}")

    def teardown(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        self._batch = None
        if self._records:
            self._records = False
            torch.cuda.memory._record_memory_history(enabled=None)


def is_out_of_memory(exception: BaseException) -> bool:
    """True for the errors by which CUDA, torch's CPU allocator and Python say that memory is out."""
    if isinstance(exception, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(exception, RuntimeError) and PATTERN.search(str(exception)) is not None


def report(trainer: Trainer, module: Any, batch: Any, exception: BaseException) -> str:
    """The text of the report."""
    parameters = list(module.parameters())
    states = [state for optimizer in trainer.optimizers for state in optimizer.state.values()]
    held = {
        "parameters": size(parameters),
        "gradients": size(p.grad for p in parameters if p.grad is not None),
        "optimizer states": size(tree_leaves(states)),
        "buffers": size(module.buffers()),
        "batch": size(tree_leaves(batch)),
    }
    shapes = [f"{sizes(leaf)} {leaf.dtype}" for leaf in tree_leaves(batch) if isinstance(leaf, Tensor)]
    lines = [
        f"{type(exception).__name__}: {exception}",
        "",
        f"epoch {trainer.current_epoch}, step {trainer.global_step}, batch {trainer.progress.batch}",
        f"tensors in the batch: {', '.join(shapes) or 'not known, it was no training batch'}",
        "",
        *(f"{name:<18} {count / 1e6:12,.1f} MB" for name, count in held.items()),
        "The rest are activations, temporary tensors, and what other code or processes hold.",
        "",
        "What may help: a smaller batch with `accumulate_grad_batches`, `precision='bf16-mixed'`,",
        "activation checkpointing; against large optimizer states a sharded strategy or another optimizer.",
        "",
        device_state(trainer.engine.device),
    ]
    return "\n".join(lines) + "\n"


def device_state(device: torch.device) -> str:
    """What the device says; for the CPU the size of this process and of the machine's memory."""
    if device.type == "cuda":
        return torch.cuda.memory_summary(device)
    if sys.platform == "win32":
        return "The CPU was in use, of whose memory nothing more is known here."
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return f"On the CPU: this process held {most / 1e6:,.0f} MB at most; the machine has {total / 1e6:,.0f} MB."


def size(leaves: Iterable[Any]) -> int:
    """Bytes of the tensors among the leaves."""
    return sum(t.numel() * t.element_size() for t in leaves if isinstance(t, Tensor))
