"""What a Fabric is given, checked where it comes in."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader


def machines(num_nodes: int | str) -> int:
    """The number of machines, if it is one."""
    if str(num_nodes).isdecimal() and int(num_nodes) > 0:
        return int(num_nodes)
    raise ValueError(f"`num_nodes` must be at least 1, got {num_nodes!r}. Pass the number of machines.")


def listed(value: Any) -> list[Any]:
    """A list of one or several; empty for None."""
    return [] if value is None else list(value) if isinstance(value, (list, tuple)) else [value]


def loggers(given: Any) -> list[Any]:
    """One logger or several as a list, each of which takes records."""
    for logger in listed(given):
        if not callable(getattr(logger, "log_metrics", None)):
            raise TypeError(
                f"`loggers` takes objects with a method `log_metrics`, got {logger!r}. Pass e.g. a CSVLogger."
            )
    return listed(given)


def data(loader: Any) -> Any:
    """The loader, if batches can be taken from it; a list of DataLoaders is none."""
    is_list = isinstance(loader, (list, tuple)) and any(isinstance(one, DataLoader) for one in loader)
    if is_list or not (hasattr(loader, "__iter__") or hasattr(loader, "__getitem__")):
        raise TypeError(
            f"`setup_dataloaders` takes loaders, each as an argument of its own, got a `{type(loader).__name__}`. "
            "Pass a DataLoader, or anything else that can be iterated over."
        )
    return loader


def mapping(state: Any, kind: Any) -> Any:
    """What is to be saved or loaded, if it has names."""
    if not isinstance(state, kind):
        raise TypeError(f"`state` must be a dict, got a `{type(state).__name__}`. Pass e.g. `{{'model': model}}`.")
    return state


def numbers(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """A record without tensors."""
    for name, value in metrics.items():
        if isinstance(value, Tensor) and value.numel() != 1:
            raise ValueError(f"The value logged as {name!r} is a tensor of shape {tuple(value.shape)}. Log one number.")
    return {name: value.item() if isinstance(value, Tensor) else value for name, value in metrics.items()}
