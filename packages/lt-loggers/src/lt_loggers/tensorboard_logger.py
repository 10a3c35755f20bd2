"""Metrics, hyperparameters and the model's graph as TensorBoard shows them."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from time import monotonic
from typing import Any

from lt_interfaces import did_you_mean, rank_zero_only, rank_zero_warn

from lt_loggers.hparams import flatten
from lt_loggers.logger import Logger, close_with
from lt_loggers.metrics import Names, folder_name, number, printable
from lt_loggers.run_directory import RunDirectory, StrPath

WRITER_ARGUMENTS = ("comment", "filename_suffix", "flush_secs", "max_queue", "purge_step")
FLUSH_SECONDS = 1.0
RETRY_SECONDS = 60.0
MAX_QUEUE = 1000  # with the writer's own 10, training waits for its thread: 250 us a record instead of 14


class TensorBoardLogger(Logger):
    """Writes event files and `hparams.yaml` into `save_dir/name/version_N[/sub_dir]`; show them with `tensorboard`.

    `default_hp_metric` writes the metric `hp_metric = -1` with the hyperparameters, which TensorBoard needs to list the
    run. `kwargs` go to `torch.utils.tensorboard.SummaryWriter`, which is `experiment`. `root_dir` is Fabric's spelling
    of `save_dir`.
    """

    _run: RunDirectory

    def __init__(
        self,
        save_dir: StrPath | None = None,
        name: str | None = "lightning_logs",
        version: int | str | None = None,
        log_graph: bool = False,
        default_hp_metric: bool = True,
        prefix: str = "",
        sub_dir: StrPath | None = None,
        *,
        root_dir: StrPath | None = None,
        **kwargs: Any,
    ) -> None:
        for key in kwargs:
            if key not in WRITER_ARGUMENTS:
                raise TypeError(f"`{key}` is no argument of `SummaryWriter`. {did_you_mean(key, WRITER_ARGUMENTS)}")
        suffix = kwargs.get("filename_suffix", "")
        if suffix != folder_name(suffix):
            raise ValueError(f"`filename_suffix` must be part of a file's name, got {suffix!r}. Leave out the slashes.")
        self._run = RunDirectory(save_dir, root_dir, name, version, sub_dir)
        self._log_graph = log_graph
        self._default_hp_metric = default_hp_metric
        self._names = Names(prefix, printable)
        self._kwargs = {"max_queue": MAX_QUEUE, **kwargs}
        self._last_step = -1
        self._flushed = 0.0
        self._closed_until = 0.0

    @property
    def sub_dir(self) -> str | None:
        """The folder below that of the version, if one was asked for."""
        return self._run.sub_dir or None

    def _open(self) -> Any:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ImportError(
                "`TensorBoardLogger` needs torch and tensorboard, and one of them is not installed. "
                'Run `pip install "lt-loggers[tensorboard]"`.'
            ) from error
        writer = SummaryWriter(str(self._run.make()), **self._kwargs)
        # It hides what is logged from this step on: right once, wrong when the same run opens a second file.
        self._kwargs.pop("purge_step", None)
        close_with(self, writer.close)
        return writer

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Add one point per metric, all at `step`; a nested mapping becomes curves in one chart."""
        if monotonic() >= self._closed_until:
            with self._going_on():
                self._add(metrics, step)

    def _add(self, metrics: Mapping[str, Any], step: int | None) -> None:
        writer = self.experiment
        if step is None:
            step = metrics.get("step", self._last_step + 1)
        self._last_step = step = int(step)
        for name, value in metrics.items():
            if isinstance(value, Mapping):
                curves = {folder_name(str(key)): number(name, item) for key, item in value.items()}
                writer.add_scalars(self._names[name], curves, step)
            elif name != "step":
                writer.add_scalar(self._names[name], number(name, value), step)

    @rank_zero_only
    def log_hyperparams(self, params: Any = None, metrics: Mapping[str, Any] | float | None = None) -> None:
        """Add to `hparams.yaml` and to the table of runs; `metrics` are results to show there, one is `hp_metric`."""
        if metrics is None:
            metrics = {"hp_metric": -1} if self._default_hp_metric else {}
        elif not isinstance(metrics, Mapping):
            metrics = {"hp_metric": metrics}
        added = self._run.save_hparams(params)
        if metrics:
            self._write_hparams(added, {self._names[name]: number(name, value) for name, value in metrics.items()})

    def _write_hparams(self, params: dict[str, Any], metrics: dict[str, float]) -> None:
        writer = self.experiment
        from torch.utils.tensorboard.summary import hparams

        shown = {
            printable(name): value if isinstance(value, int | float) else printable(str(value))
            for name, value in flatten(params).items()
        }
        # `SummaryWriter.add_hparams` would open a second event file, after which TensorBoard stops reading the first.
        for summary in hparams(shown, metrics):  # type: ignore[no-untyped-call]
            writer.file_writer.add_summary(summary)
        for name, value in metrics.items():
            writer.add_scalar(name, value, 0)

    @rank_zero_only
    def log_graph(self, model: Any, input_array: Any = None) -> None:
        """Trace the model and add its graph, if `log_graph=True`; needs `model.example_input_array` or an input."""
        if not self._log_graph:
            return
        if input_array is None:
            input_array = getattr(model, "example_input_array", None)
        if input_array is None:
            rank_zero_warn(
                "`log_graph=True`, but the model has no example input. Set `model.example_input_array` to a batch."
            )
            return
        try:
            _add_graph(self.experiment, model, input_array)
        except (RuntimeError, TypeError, ValueError) as error:
            rank_zero_warn(f"The model's graph could not be traced: {error} Use `log_graph=False`.")

    def save(self) -> None:
        """Hand buffered events to the file, at most once per second."""
        if self._experiment is not None and monotonic() - self._flushed >= FLUSH_SECONDS:
            self._flushed = monotonic()
            with self._going_on():
                self._experiment.flush()

    def finalize(self, status: str) -> None:
        """Write everything and close the event files."""
        if self._experiment is not None:
            with self._going_on():
                self._experiment.close()
            self._experiment = None

    @contextmanager
    def _going_on(self) -> Iterator[None]:
        """Let a disk that is full or gone cost the events of that time and not the run; say so once."""
        try:
            yield
        except OSError as error:
            if not self._closed_until:
                if self._experiment is None:  # it could not even begin
                    raise
                told = f"Events could not be written to {self.log_dir!r}: {error}. Make room; the run goes on."
                rank_zero_warn(told, stacklevel=6)
            self._experiment, self._closed_until = None, monotonic() + RETRY_SECONDS  # the writer's thread has ended


def _add_graph(writer: Any, model: Any, inputs: Any) -> None:
    import torch

    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    is_many = isinstance(inputs, tuple | list)
    moved = [item.to(device) if hasattr(item, "to") else item for item in (inputs if is_many else [inputs])]
    modes = [(module, module.training) for module in model.modules()]
    # Tracing runs the model: the random state and the modes of its parts must be as before, or training would differ.
    devices = [device] if device.type == "cuda" else []
    with (
        torch.random.fork_rng(devices=devices),
        torch.no_grad(),
        warnings.catch_warnings(),
        redirect_stdout(io.StringIO()),
    ):
        # torch prints errors before it raises them and calls the tracer of its own writer deprecated.
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            writer.add_graph(model, tuple(moved) if is_many else moved[0])
        finally:
            for module, training in modes:
                module.training = training
