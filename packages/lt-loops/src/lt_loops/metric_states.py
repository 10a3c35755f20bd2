"""The state of metric objects inside a module, as torchmetrics keeps it: out of the module's own `state_dict`."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from lt_loops.entry import is_metric


def _metrics(module: Any) -> Iterator[tuple[str, Any]]:
    for name, part in module.named_modules() if isinstance(module, nn.Module) else ():
        if is_metric(part) and isinstance(getattr(part, "_defaults", None), dict):
            yield name, part


def counts(module: Any) -> dict[str, int]:
    """How often each metric was updated since it started."""
    return {name: metric._update_count for name, metric in _metrics(module)}


def capture(module: Any, unless_beyond: dict[str, int] | None = None) -> dict[str, Any]:
    """The states of metrics that were updated; without those that went beyond these counts."""
    states = {}
    for name, metric in _metrics(module):
        count = metric._update_count
        if count and (unless_beyond is None or unless_beyond.get(name) == count):
            states[name] = {
                "count": count,
                "latest": metric._forward_cache,
                "values": {key: getattr(metric, key) for key in metric._defaults},
            }
    return states


def restore(module: Any, states: dict[str, Any]) -> None:
    """Let metrics go on from captured states."""
    for name, metric in _metrics(module):
        if name not in states:
            continue
        saved = states[name]
        metric._update_count, metric._forward_cache = saved["count"], _moved(saved["latest"], metric)
        for key, value in saved["values"].items():
            setattr(metric, key, _moved(value, metric))


def _moved(value: Any, metric: Any) -> Any:
    if isinstance(value, Tensor):
        return value.to(metric.device)
    return [_moved(v, metric) for v in value] if isinstance(value, list) else value
