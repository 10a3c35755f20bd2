"""What a module knows of its surroundings: trainer or fabric, ranks, loggers, device.

Copies and pickles of the module leave trainer and fabric behind.
"""

from typing import Any

import torch
from torch import nn


class FabricTrainer:
    """Reads as a trainer where there is only a fabric, so that code on `self.trainer` runs in a hand-written loop."""

    def __init__(self, fabric: Any) -> None:
        self.fabric = fabric

    def __getattr__(self, name: str) -> Any:
        try:
            return getattr(self.fabric, name)
        except AttributeError:
            raise AttributeError(
                f"`trainer.{name}` is not there, since the module runs under a Fabric, which has no `{name}`. "
                "Use `self.fabric`, or train with a Trainer."
            ) from None


class Attachment(nn.Module):
    """A module that can be attached to a trainer or a fabric; child modules of this class are attached with it."""

    _trainer: Any = None
    _fabric: Any = None
    _placement: torch.Tensor | None = None

    @property
    def trainer(self) -> Any:
        """The trainer, see `lt_interfaces.Trainer`; a RuntimeError if there is none."""
        if self._trainer is not None:
            return self._trainer
        if self._fabric is not None:
            return FabricTrainer(self._fabric)
        raise RuntimeError(
            f"`{type(self).__name__}` is not attached to a Trainer. "
            "Pass it to `trainer.fit(model)` (or validate, test, predict) first, or set `model.trainer`."
        )

    @trainer.setter
    def trainer(self, trainer: Any) -> None:
        self._attach("_trainer", trainer)

    @property
    def fabric(self) -> Any:
        """The fabric that set this module up, or None."""
        return self._fabric

    @fabric.setter
    def fabric(self, fabric: Any) -> None:
        self._attach("_fabric", fabric)

    def _attach(self, name: str, to: Any) -> None:
        for module in self.modules():
            if isinstance(module, Attachment):
                module.__dict__[name] = to

    @property
    def _engine(self) -> Any:
        return self._trainer.engine if self._trainer is not None else self._fabric

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("_trainer", "_fabric")}

    @property
    def current_epoch(self) -> int:
        """Training epochs finished; 0 without a trainer."""
        return 0 if self._trainer is None else int(self._trainer.current_epoch)

    @property
    def global_step(self) -> int:
        """Optimizer steps completed; 0 without a trainer."""
        return 0 if self._trainer is None else int(self._trainer.global_step)

    @property
    def global_rank(self) -> int:
        """Index of this process among all; 0 without a trainer or fabric."""
        return 0 if self._engine is None else int(self._engine.global_rank)

    @property
    def local_rank(self) -> int:
        """Index of this process on its machine; 0 without a trainer or fabric."""
        return 0 if self._engine is None else int(self._engine.local_rank)

    @property
    def logger(self) -> Any:
        """The first logger, or None."""
        return getattr(self._trainer or self._fabric, "logger", None)

    @property
    def loggers(self) -> list[Any]:
        """All loggers."""
        return list(getattr(self._trainer or self._fabric, "loggers", ()))

    @property
    def device(self) -> torch.device:
        """Where the first parameter is; without parameters, where the module was moved to."""
        return self._first_tensor().device

    @property
    def dtype(self) -> torch.dtype:
        """The type of the first floating-point parameter; without parameters, what the module was cast to."""
        first = self._first_tensor()
        if not first.is_floating_point():
            first = next((p for p in self.parameters() if p.is_floating_point()), first)
        return first.dtype

    @property
    def on_gpu(self) -> bool:
        """True on a CUDA device."""
        return self.device.type == "cuda"

    def _first_tensor(self) -> torch.Tensor:
        parameter = _first_parameter(self)
        if parameter is not None:
            return parameter
        if self._placement is not None:
            return self._placement
        return next(self.buffers(), torch.empty(0))

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call,unused-ignore]
        if _first_parameter(self) is None:
            # An empty tensor goes along wherever `.to`, `.cuda` or `.double` would have taken a parameter.
            self._placement = fn(torch.empty(0) if self._placement is None else self._placement)
        return self


def _first_parameter(module: nn.Module) -> nn.Parameter | None:
    """The first parameter; a plain walk, as `next(module.parameters())` costs several times more per step."""
    for parameter in module._parameters.values():
        if parameter is not None:
            return parameter
    for child in module._modules.values():
        if child is not None and (parameter := _first_parameter(child)) is not None:
            return parameter
    return None
