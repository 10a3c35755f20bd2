"""What `Fabric` finds in the module it is given, and how it makes modules: nothing here knows a device."""

from typing import Any

from lt_interfaces import MisconfigurationException
from torch import nn
from torch.overrides import TorchFunctionMode

from lt_accel.precision import Precision
from lt_accel.wrappers import FabricModule


def uncompiled(module: Any) -> Any:
    """The module that `torch.compile` was given; the module itself if it was not compiled."""
    return vars(module).get("_modules", {}).get("_orig_mod", module) if isinstance(module, nn.Module) else module


def checked(module: Any) -> nn.Module:
    """The module, if it is one that can be set up."""
    if isinstance(uncompiled(module), FabricModule):
        raise ValueError("This module was set up already. Pass the one that you made, once.")
    if not isinstance(module, nn.Module):
        raise TypeError(f"`setup_module` takes an `nn.Module`, got a `{type(module).__name__}`. Derive it from one.")
    return module


def parts(module: nn.Module, strategy: Any, precision: Precision) -> tuple[nn.Module, nn.Module, nn.Module]:
    """The user's module, as it is compiled, and with what somebody else wrapped around it; all the same if nothing."""
    whole = uncompiled(module)
    inner = strategy.inner(whole)
    if inner is whole:
        return whole, module, whole
    if module is not whole:
        raise ValueError(
            f"`torch.compile` was given a `{type(whole).__name__}`, which lt cannot look into. Compile the module "
            "first, and wrap it then."
        )
    if type(precision).convert_module is not Precision.convert_module:
        raise MisconfigurationException(
            f"`precision={precision.precision!r}` changes the parameters, for which this `{type(whole).__name__}` was "
            "made already. Pass the module in it, or use mixed precision."
        )
    return uncompiled(inner), inner, whole


def follow(optimizers: tuple[Any, ...], before: dict[str, Any], module: nn.Module) -> None:
    """Optimizers made before a strategy replaced the module's parameters get the new ones."""
    after = dict(module.named_parameters())
    new = {p: after[name] for name, p in before.items() if name in after}
    for group in (g for o in optimizers if new for g in o.param_groups):
        group["params"] = [new.get(p, p) for p in group["params"]]


class NoInit(TorchFunctionMode):
    """Functions of `torch.nn.init` do nothing inside."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__module__", None) == "torch.nn.init":
            return (kwargs or {}).get("tensor", args[0] if args else None)
        return func(*args, **(kwargs or {}))
