"""Modules that went through `torch.compile` before they came here."""

from typing import Any

import torch

METHODS = ("forward", "training_step", "validation_step", "test_step", "predict_step")


def uncompiled(model: Any) -> Any:
    """The module inside a compiled one, its steps compiled in the same way; any other module as it is.

    The trainer needs the module itself: its hooks, and a state dict with its own keys.
    """
    module = getattr(model, "_orig_mod", None)
    if module is None:
        return model
    for name in METHODS:
        method = getattr(module, name, None)
        if callable(method) and not hasattr(method, "_torchdynamo_orig_callable"):
            vars(module)[name] = model.dynamo_ctx(method)
    if hasattr(module, "log") and "log" not in vars(module):
        # Traced, it would be compiled anew at every step.
        vars(module)["log"] = torch.compiler.disable(module.log)  # type: ignore[no-untyped-call]
    return module
