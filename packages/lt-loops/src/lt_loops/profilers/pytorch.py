"""Operators, kernels and memory, by torch's profiler, with the names of actions and submodules among them."""

import inspect
import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import lt_checkpoint
import torch
from lt_interfaces import MisconfigurationException, did_you_mean
from torch.profiler import record_function

from lt_loops.profilers.profiler import Profiler

STEPS = {"fit": "run_training_batch", "validate": "validation_step", "test": "test_step", "predict": "predict_step"}
SORT_KEYS = (
    "cpu_time", "cpu_time_total", "self_cpu_time_total", "cpu_memory_usage", "self_cpu_memory_usage", "device_time",
    "device_time_total", "self_device_time_total", "device_memory_usage", "self_device_memory_usage", "count", "flops",
)  # fmt: skip


class PyTorchProfiler(Profiler):
    """A table of operators and a trace for Chrome, Perfetto or TensorBoard, of a few steps.

    By default step 0 is waited for, step 1 warms up and steps 2 to 4 are recorded; `schedule=` records others, and
    `schedule=None` all. In a fit the steps are training batches; a validation among them is recorded with them.

    Args:
        dirpath: Folder of the files; the trainer's `log_dir` by default.
        filename: Write the table to a file instead of printing it.
        group_by_input_shapes: Tell calls apart by the shapes of their inputs.
        emit_nvtx: Only mark ranges for NVIDIA's tools, which then record; needs CUDA.
        export_to_chrome: Write a trace `<stage>-<filename>-<local rank>.<step>.pt.trace.json`.
        row_limit: Rows of the table; -1 for all.
        sort_by_key: A column such as "cpu_time_total" or "self_cuda_memory_usage".
        record_module_names: Name the forward pass of each submodule.
        table_kwargs: Further arguments of the table.
        profiler_kwargs: Arguments of `torch.profiler.profile`.
    """

    def __init__(
        self,
        dirpath: Any = None,
        filename: str | None = None,
        group_by_input_shapes: bool = False,
        emit_nvtx: bool = False,
        export_to_chrome: bool = True,
        row_limit: int = 20,
        sort_by_key: str | None = None,
        record_module_names: bool = True,
        table_kwargs: dict[str, Any] | None = None,
        **profiler_kwargs: Any,
    ) -> None:
        super().__init__(dirpath, filename)
        _check(profiler_kwargs, table_kwargs or {}, emit_nvtx)
        self.group_by_input_shapes, self.emit_nvtx = group_by_input_shapes, emit_nvtx
        self.export_to_chrome, self.record_module_names = export_to_chrome, record_module_names
        self.table_kwargs = {"row_limit": row_limit, "sort_by": _sort_key(sort_by_key), **(table_kwargs or {})}
        self.profiler_kwargs = {"record_shapes": group_by_input_shapes, **profiler_kwargs}
        self.profiler: Any = None
        """The `torch.profiler.profile` that runs or ran last."""
        self._runs = self._recorded = False
        self._steps = 0
        self._ranges: list[tuple[str, Any]] = []
        self._handles: list[Any] = []

    def start(self, action_name: str) -> None:
        """The action begins; the first one starts torch's profiler."""
        if not self._runs:
            self._begin()
        opened: Any = record_function(action_name)
        opened.__enter__()
        self._ranges.append((action_name, opened))

    def stop(self, action_name: str) -> None:
        """The action is over; if it was a step, the schedule goes on."""
        if not self._ranges or self._ranges[-1][0] != action_name:
            raise ValueError(
                f"The action {action_name!r} was stopped, and it is not the one started last. "
                "Stop actions in reverse order."
            )
        self._ranges.pop()[1].__exit__(None, None, None)
        steps = STEPS.values() if self.stage is None else (STEPS.get(self.stage, ""),)
        if self._runs and not self.emit_nvtx and action_name.rpartition(".")[2] in steps:
            self._steps += 1
            self.profiler.step()

    def attach(self, module: Any) -> None:
        """Name the forward pass of each submodule from here on."""
        self._detach()
        for name, child in module.named_modules() if self.record_module_names else ():
            ranges: list[Any] = []
            label = f"[nn.Module]{type(child).__name__}" + (f": {name}" if name else "")
            self._handles += [
                child.register_forward_pre_hook(partial(_open, label, ranges)),
                child.register_forward_hook(partial(_close, ranges), always_call=True),
            ]

    def summary(self) -> str:
        """The table of operators; ends the recording."""
        self._end()
        if self.emit_nvtx or self.profiler is None:
            return ""
        if not self._recorded:
            return f"PyTorchProfiler recorded nothing: its schedule had not begun after {self._steps} steps."
        table = self.profiler.key_averages(group_by_input_shape=self.group_by_input_shapes).table(**self.table_kwargs)
        return f"Profile of the recorded steps\n{table}"

    def teardown(self, stage: str | None = None) -> None:
        """End the recording and let go of the module."""
        self._end()
        self._detach()

    def _begin(self) -> None:
        self._runs, self._recorded, self._steps = True, False, 0
        if self.emit_nvtx:
            self.profiler = torch.autograd.profiler.emit_nvtx(  # type: ignore[no-untyped-call]
                record_shapes=self.profiler_kwargs["record_shapes"]
            )
            self.profiler.__enter__()
            return
        wanted = {"schedule": torch.profiler.schedule(wait=1, warmup=1, active=3, repeat=1), **self.profiler_kwargs}
        wanted["on_trace_ready"] = partial(self._ready, wanted.get("on_trace_ready"))
        self.profiler = torch.profiler.profile(**wanted)
        self.profiler.start()

    def _end(self) -> None:
        if not self._runs:
            return
        self._runs = False
        if self.emit_nvtx:
            self.profiler.__exit__(None, None, None)
        else:
            self.profiler.stop()

    def _ready(self, own: Callable[[Any], Any] | None, profiler: Any) -> None:
        self._recorded = True
        if own is not None:
            own(profiler)
        elif self.export_to_chrome:
            with tempfile.TemporaryDirectory() as folder:
                draft = Path(folder, "trace.json")
                profiler.export_chrome_trace(str(draft))
                target = self.path(f".{self._steps}.pt.trace.json")
                with open(draft, "rb") as made, lt_checkpoint.atomic_write(target) as file:
                    shutil.copyfileobj(made, file)

    def _detach(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []


def _open(label: str, ranges: list[Any], *_: Any) -> None:
    ranges.append(record_function(label))
    ranges[-1].__enter__()


def _close(ranges: list[Any], *_: Any) -> None:
    if ranges:
        ranges.pop().__exit__(None, None, None)


def _check(profiler_kwargs: dict[str, Any], table_kwargs: dict[str, Any], emit_nvtx: bool) -> None:
    known = list(inspect.signature(torch.profiler.profile).parameters)
    for name in profiler_kwargs:
        if name not in known:
            raise TypeError(f"`PyTorchProfiler` has no argument `{name}`. {did_you_mean(name, known)}")
    known = list(inspect.signature(torch.autograd.profiler_util.EventList.table).parameters)[1:]
    for name in table_kwargs:
        if name not in known:
            raise TypeError(f"`table_kwargs` of `PyTorchProfiler` has no `{name}`. {did_you_mean(name, known)}")
    if emit_nvtx and not torch.cuda.is_available():
        raise MisconfigurationException("`emit_nvtx=True` needs CUDA, and there is none. Leave it out.")


def _sort_key(key: str | None) -> str:
    if key is None:
        return "device_time_total" if torch.cuda.is_available() else "cpu_time_total"
    if key.replace("cuda", "device").replace("xpu", "device") not in SORT_KEYS:
        raise ValueError(f"`sort_by_key` got {key!r}, which is no column. {did_you_mean(key, SORT_KEYS)}")
    return key
