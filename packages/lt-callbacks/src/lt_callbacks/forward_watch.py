"""Finds the module in which numbers stop being finite."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves


class ForwardWatch:
    """Notes on the device, for each module that runs, whether its output was finite; costs a kernel or two per module.

    Modules are known in the order in which they finish, inner ones before those around them, so the first bad one is
    where it began.
    """

    def __init__(self, module: nn.Module) -> None:
        self._bad: dict[str, Tensor] = {}
        self._handles = [
            m.register_forward_hook(partial(self._note, f"`{name or 'the module'}` ({type(m).__name__})"))
            for name, m in module.named_modules()
        ]

    def first(self) -> str | None:
        """The first module with an output that was not finite, or None; reads the device."""
        found = torch.stack(list(self._bad.values())).tolist() if self._bad else []
        return next((name for name, bad in zip(self._bad, found, strict=True) if bad), None)

    def stop(self) -> None:
        """Take the hooks away."""
        while self._handles:
            self._handles.pop().remove()

    @torch.no_grad()
    def _note(self, name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        for value in tree_leaves(output):
            if isinstance(value, Tensor) and value.is_floating_point():
                bad = ~torch.isfinite(value.detach()).all()
                self._bad[name] = bad | self._bad[name] if name in self._bad else bad
