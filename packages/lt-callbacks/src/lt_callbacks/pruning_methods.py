"""The ways to prune that go by a name, and what they need."""

from collections.abc import Callable
from typing import Any

from lt_interfaces import MisconfigurationException, did_you_mean
from torch import Tensor
from torch.nn.utils import prune

FUNCTIONS: dict[str, tuple[Callable[..., Any], type[prune.BasePruningMethod]]] = {
    "ln_structured": (prune.ln_structured, prune.LnStructured),
    "l1_unstructured": (prune.l1_unstructured, prune.L1Unstructured),
    "random_structured": (prune.random_structured, prune.RandomStructured),
    "random_unstructured": (prune.random_unstructured, prune.RandomUnstructured),
}


def renewed(module: Any, name: str) -> Tensor:
    """What the module's own initialization gives for one of its parameters; the others stay as they are."""
    kept = [(parameter, parameter.clone()) for parameter in module.parameters(recurse=False)]
    module.reset_parameters()
    new: Tensor = getattr(module, name).clone()
    for parameter, value in kept:
        parameter.copy_(value)
    return new


def check(pruning_fn: Any, globally: bool, dim: int | None, norm: int | None) -> None:
    if isinstance(pruning_fn, str):
        if pruning_fn not in FUNCTIONS:
            raise MisconfigurationException(
                f"`pruning_fn` got {pruning_fn!r}, which is no way to prune. {did_you_mean(pruning_fn, FUNCTIONS)}"
            )
        if pruning_fn.endswith("_structured") and (globally or dim is None):
            raise MisconfigurationException(
                f"{pruning_fn!r} prunes rows of each weight. Give `pruning_dim` and `use_global_unstructured=False`."
            )
        if pruning_fn == "ln_structured" and norm is None:
            raise MisconfigurationException(
                "'ln_structured' ranks rows by a norm. Give `pruning_norm`, for instance 2."
            )
    elif not (isinstance(pruning_fn, type) and issubclass(pruning_fn, prune.BasePruningMethod)):
        raise MisconfigurationException(
            f"`pruning_fn` got {pruning_fn!r}. Give a name ({', '.join(FUNCTIONS)}) or a subclass of "
            "`torch.nn.utils.prune.BasePruningMethod`."
        )
    elif globally and getattr(pruning_fn, "PRUNING_TYPE", None) != "unstructured":
        raise MisconfigurationException(
            f"`{pruning_fn.__name__}` does not prune single weights, so it cannot rank all together. "
            "Give `use_global_unstructured=False`."
        )
