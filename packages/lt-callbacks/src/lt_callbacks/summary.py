"""What a module is made of: layers, parameter counts, memory, and sizes where an example input is given."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from lt_interfaces import rank_zero_warn
from torch import nn
from torch.nn.parameter import UninitializedParameter


class Summary:
    """The layers down to `max_depth` (-1: all, 0: none) with parameters and modes; `str` gives the table.

    With an `example_input_array` on the module, one forward pass adds input and output sizes, and with `flops` counts
    operations, which makes torch load for a second or so. The pass runs in evaluation mode without gradients and leaves
    modes, buffers and random numbers as they were.
    """

    def __init__(self, model: nn.Module, max_depth: int = 1, flops: bool = False) -> None:
        if max_depth < -1:
            raise ValueError(f"`max_depth` must be -1 or more, got {max_depth!r}. Use -1 for all levels, 0 for none.")
        self.model = model
        self.max_depth = max_depth
        self.named_modules = [
            (name, m)
            for name, m in model.named_modules()
            if name and 0 <= name.count(".") < (len(name) if max_depth == -1 else max_depth)
        ]
        self._sizes: dict[str, tuple[Any, Any]] = {}
        self._flops: dict[str, int] = {}
        if any(isinstance(p, UninitializedParameter) for p in model.parameters()):
            rank_zero_warn("The summary counts lazy parameters as 0. Call the module once before to count them.")
        if getattr(model, "example_input_array", None) is not None and max_depth != 0:
            self._run_example(model.example_input_array, flops)

    @property
    def layer_names(self) -> list[str]:
        return [name for name, _ in self.named_modules]

    @property
    def layer_types(self) -> list[str]:
        return [type(module).__name__ for _, module in self.named_modules]

    @property
    def param_nums(self) -> list[int]:
        return [_count(module.parameters()) for _, module in self.named_modules]

    @property
    def training_modes(self) -> list[bool]:
        return [module.training for _, module in self.named_modules]

    @property
    def in_sizes(self) -> list[Any]:
        return [self._sizes.get(name, ("?", "?"))[0] for name in self.layer_names]

    @property
    def out_sizes(self) -> list[Any]:
        return [self._sizes.get(name, ("?", "?"))[1] for name in self.layer_names]

    @property
    def flop_counts(self) -> list[int]:
        return [self._flops.get(name, 0) for name in self.layer_names]

    @property
    def total_flops(self) -> int:
        return self._flops.get("", 0)

    @property
    def total_parameters(self) -> int:
        """Parameters of the module; shared ones count once."""
        return _count(self.model.parameters())

    @property
    def trainable_parameters(self) -> int:
        return _count(p for p in self.model.parameters() if p.requires_grad)

    @property
    def total_layer_params(self) -> int:
        """Parameters directly on the module, in none of its layers."""
        return _count(self.model.parameters(recurse=False))

    @property
    def model_size(self) -> float:
        """Megabytes that the parameters take in their own dtypes."""
        return sum(p.numel() * p.element_size() for p in self.model.parameters() if _is_made(p)) / 1e6

    @property
    def total_training_modes(self) -> dict[str, int]:
        """How many modules are in training mode and how many in evaluation mode."""
        modes = [module.training for module in self.model.modules()][1:]
        return {"train": sum(modes), "eval": len(modes) - sum(modes)}

    def get_summary_data(self) -> list[tuple[str, list[str]]]:
        """The table by columns."""
        rows = len(self.named_modules)
        columns = {
            "": [str(i) for i in range(rows)],
            "Name": self.layer_names,
            "Type": self.layer_types,
            "Params": [human(n) for n in self.param_nums],
            "Mode": ["train" if training else "eval" for training in self.training_modes],
        }
        if self._flops:
            columns["FLOPs"] = [human(n) for n in self.flop_counts]
        if self._sizes:
            columns["In sizes"] = [str(size) for size in self.in_sizes]
            columns["Out sizes"] = [str(size) for size in self.out_sizes]
        if self.total_layer_params:
            extra = {"Name": "other params", "Type": "n/a", "Params": human(self.total_layer_params)}
            for title, column in columns.items():
                column.append(extra.get(title, ""))
        return list(columns.items())

    def totals(self) -> list[tuple[str, str]]:
        """The lines below the table: label and value."""
        trainable, total, modes = self.trainable_parameters, self.total_parameters, self.total_training_modes
        lines = [
            ("Trainable params", human(trainable)),
            ("Non-trainable params", human(total - trainable)),
            ("Total params", human(total)),
            ("Params size (MB)", f"{self.model_size:,.3f}"),
            ("Modules in train mode", str(modes["train"])),
            ("Modules in eval mode", str(modes["eval"])),
        ]
        return [*lines, ("FLOPs of a forward pass", human(self.total_flops))] if self._flops else lines

    def __str__(self) -> str:
        columns = [[title, *cells] for title, cells in self.get_summary_data()]
        widths = [max(map(len, column)) for column in columns]
        lines = [" | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in zip(*columns, strict=True)]
        rule = "-" * len(lines[0])
        table = [lines[0].rstrip(), rule, *(line.rstrip() for line in lines[1:]), rule]
        return "\n".join([*table, *(f"{value:<10} {label}" for label, value in self.totals())])

    def _run_example(self, example: Any, flops: bool) -> None:
        if any(hasattr(p, "device_mesh") for p in self.model.parameters()):
            return  # a sharded module runs on all ranks together or not at all
        counter = None
        if flops:
            from torch.utils.flop_counter import FlopCounterMode

            counter = FlopCounterMode(display=False)
        try:
            with _unchanged(self.model), self._recorded_sizes(), torch.no_grad(), counter or nullcontext():
                _call(self.model, example)
        except Exception as error:
            rank_zero_warn(f"The summary shows no sizes: the module fails on `example_input_array` with {error!r}.")
            self._sizes = {}
            return
        root = type(self.model).__name__
        for name, by_operator in counter.get_flop_counts().items() if counter else ():
            if name == "Global" or name.startswith(f"{root}."):
                self._flops[name.removeprefix("Global").removeprefix(f"{root}.")] = sum(by_operator.values())

    @contextmanager
    def _recorded_sizes(self) -> Iterator[None]:
        def record(name: str) -> Callable[..., None]:
            return lambda _, inputs, output: self._sizes.setdefault(name, (sizes(inputs), sizes(output))) and None

        handles = [module.register_forward_hook(record(name)) for name, module in self.named_modules]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def summarize(model: nn.Module, max_depth: int = 1) -> Summary:
    """The summary of any module, to print or to take apart."""
    return Summary(model, max_depth)


def sizes(value: Any) -> Any:
    """The shape of a tensor, a list of shapes of several, "?" of anything else."""
    if isinstance(value, torch.Tensor):
        return list(value.shape)
    if isinstance(value, (list, tuple)):
        return sizes(value[0]) if len(value) == 1 else [sizes(v) for v in value]
    return "?"


def human(number: int) -> str:
    """A count in three digits: 12, 3.4 K, 101 M."""
    value = float(number)
    for unit in ("", " K", " M", " B", " T"):
        if value < 999.5 or unit == " T":
            break
        value /= 1000
    return f"{value:.3g}{unit}"


def _is_made(parameter: Any) -> bool:
    return not isinstance(parameter, UninitializedParameter)


def _count(parameters: Any) -> int:
    return sum(p.numel() for p in parameters if _is_made(p))


def _call(model: nn.Module, example: Any) -> None:
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    if isinstance(example, dict):
        model(**{k: _moved(v, device) for k, v in example.items()})
    elif isinstance(example, tuple):
        model(*(_moved(v, device) for v in example))
    else:
        model(_moved(example, device))


def _moved(value: Any, device: torch.device) -> Any:
    return value.to(device) if isinstance(value, torch.Tensor) else value


@contextmanager
def _unchanged(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; afterwards modes, buffers and random numbers are as before."""
    modes = [(module, module.training) for module in model.modules()]
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        with torch.random.fork_rng():
            model.eval()
            yield
    finally:
        for module, training in modes:
            module.training = training
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)
