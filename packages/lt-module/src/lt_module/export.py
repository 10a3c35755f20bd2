"""A trained module as a file for other runtimes; torch's exporters do the work and are imported on first use."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from lt_checkpoint import atomic_write


@contextmanager
def evaluating(module: Any) -> Iterator[None]:
    """Evaluation mode without gradients inside; afterwards each submodule is in the mode it was in."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part, mode in modes:
            part.training = mode


def to_onnx(module: Any, file_path: str | PathLike[str] | None, input_sample: Any, options: dict[str, Any]) -> Any:
    """The ONNX program of `forward`, also written to `file_path` if given."""
    try:
        import onnx  # type: ignore[import-not-found,unused-ignore]  # noqa: F401
        import onnxscript  # type: ignore[import-not-found,unused-ignore]  # noqa: F401
    except ImportError as error:
        raise ImportError("`to_onnx` needs onnx and onnxscript. Run `pip install lt-module[onnx]`.") from error
    args, kwargs = _call_arguments(module, input_sample, "to_onnx(input_sample=...)")
    with evaluating(module):
        # Not through a temporary file: large weights go to a second file that the first one names.
        return torch.onnx.export(module, args, None if file_path is None else str(file_path), kwargs=kwargs, **options)


def to_torchscript(
    module: Any, file_path: str | PathLike[str] | None, method: str, example_inputs: Any, options: dict[str, Any]
) -> Any:
    """The TorchScript of `forward`, also written to `file_path` if given."""
    if method not in ("script", "trace"):
        raise ValueError(f"`method` must be 'script' or 'trace', got {method!r}. Or use `torch.export.export`.")
    with evaluating(module), _attached(module):
        if method == "script":
            scripted = torch.jit.script(module, **options)
        else:
            args, kwargs = _call_arguments(module, example_inputs, "to_torchscript(example_inputs=...)")
            inputs = {"example_kwarg_inputs": kwargs} if kwargs else {"example_inputs": args}
            scripted = torch.jit.trace(module, **inputs, **options)  # type: ignore[no-untyped-call,unused-ignore]
    if file_path is not None:
        with atomic_write(Path(file_path)) as file:
            torch.jit.save(scripted, file)
    return scripted


@contextmanager
def _attached(module: Any) -> Iterator[None]:
    """A trainer of no use, since TorchScript looks at every property of the module."""
    alone = module._trainer is None and module._fabric is None
    if alone:
        module.__dict__["_trainer"] = SimpleNamespace()
    try:
        yield
    finally:
        if alone:
            module.__dict__["_trainer"] = None


def _call_arguments(module: Any, sample: Any, remedy: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments for `forward`, through the batch hooks: a dict gives keywords, a tuple positions."""
    sample = module.example_input_array if sample is None else sample
    if sample is None:
        raise ValueError(f"There is no input to run the module with. Set `example_input_array`, or call `{remedy}`.")
    sample = module.on_before_batch_transfer(sample, 0)
    sample = module.transfer_batch_to_device(sample, module.device, 0)
    sample = module.on_after_batch_transfer(sample, 0)
    if isinstance(sample, Mapping):
        return (), dict(sample)
    return (sample if isinstance(sample, tuple) else (sample,)), {}
