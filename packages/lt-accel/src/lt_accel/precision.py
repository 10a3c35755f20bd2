"""Numeric precision: what dtype parameters have, what dtype is computed in, and how fp16 gradients are scaled.

| name       | parameters | computed in       | gradients scaled |
|------------|------------|-------------------|------------------|
| 32-true    | float32    | float32           | no               |
| 64-true    | float64    | float64           | no               |
| 16-true    | float16    | float16           | no               |
| bf16-true  | bfloat16   | bfloat16          | no               |
| 16-mixed   | float32    | float16 autocast  | yes              |
| bf16-mixed | float32    | bfloat16 autocast | no               |

All of them run on the CPU as well, 16-mixed included: slow there, but the same arithmetic as on a GPU. Those in 8 bits
are in float8.py.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import wraps
from typing import Any

import torch
from lt_interfaces import MisconfigurationException, did_you_mean
from torch import Tensor, nn

from lt_accel.transfer import cast_floats, device_named


class Precision:
    """Full precision, "32-true": nothing is cast. Subclass it to make another; override what differs."""

    precision = "32-true"
    param_dtype: torch.dtype = torch.float32
    compute_dtype: torch.dtype = torch.float32
    scaler: Any = None
    replaces_parameters: bool = False
    """True if `convert_module` makes others: optimizers made before are then given those."""

    def check(self, device: torch.device) -> None:
        """Raise if the device lacks this precision, or if this object is for another one."""

    def connect(self, strategy: Any) -> None:
        """Raise if the strategy cannot share modules of this precision; called once both are chosen."""

    def convert_module(self, module: nn.Module) -> nn.Module:
        """The module with its parameters in `param_dtype`."""
        return module

    def convert_input(self, data: Any) -> Any:
        """What the forward pass is given."""
        return data

    def convert_output(self, data: Any) -> Any:
        """What leaves the forward pass of a hand-written loop."""
        return data

    def forward_context(self) -> AbstractContextManager[Any]:
        """The context of a forward pass and its loss."""
        return nullcontext()

    def module_init_context(self) -> AbstractContextManager[Any]:
        """The context in which modules are made."""
        return self.tensor_init_context()

    def tensor_init_context(self) -> AbstractContextManager[Any]:
        """The context in which tensors are made."""
        return nullcontext()

    def bind(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function as it runs in this precision; the function itself if nothing is to be done."""
        kind = type(self)
        if kind.forward_context is Precision.forward_context and kind.convert_input is Precision.convert_input:
            return function
        context, convert = self.forward_context, self.convert_input
        if kind.convert_input is Precision.convert_input:

            @wraps(function)
            def run(*args: Any, **kwargs: Any) -> Any:
                with context():
                    return function(*args, **kwargs)
        else:

            @wraps(function)
            def run(*args: Any, **kwargs: Any) -> Any:
                with context():
                    return function(*convert(args), **convert(kwargs))

        return run

    def scale(self, loss: Tensor) -> Tensor:
        """The loss as backward must see it."""
        return loss

    def unscale_gradients(self, optimizer: Any) -> None:
        """Gradients in true size; a second call in the same step does nothing."""

    def optimizer_step(self, optimizer: Any, closure: Callable[[], Any] | None = None) -> bool:
        """Step; False if gradients were infinite and the step was left out."""
        if closure is None:
            optimizer.step()
        else:
            optimizer.step(closure)
        return True

    def state_dict(self) -> dict[str, Any]:
        """The scaler's state, if there is one."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a saved state."""

    def teardown(self) -> None:
        """Let go of what was set."""


class MixedPrecision(Precision):
    """float32 parameters, 16-bit arithmetic; "16-mixed" scales the loss and leaves out steps that overflow."""

    def __init__(self, precision: str, device: str, scaler: Any = None) -> None:
        if precision not in ("16-mixed", "bf16-mixed"):
            raise ValueError(
                f"`precision` of MixedPrecision must be '16-mixed' or 'bf16-mixed', got {precision!r}. "
                + did_you_mean(str(precision), ("16-mixed", "bf16-mixed"))
            )
        if precision == "bf16-mixed" and scaler is not None:
            raise ValueError("`scaler` has nothing to do in 'bf16-mixed'. Leave it out or use precision='16-mixed'.")
        self.precision = precision
        self.device_type = device_named(device).type
        self.compute_dtype = torch.float16 if precision == "16-mixed" else torch.bfloat16
        self.scaler = torch.amp.GradScaler(self.device_type) if scaler is None and precision == "16-mixed" else scaler
        self._unscaled: set[int] = set()
        self._stepped: set[int] = set()
        self._scaled = 0
        self._scaled_before: dict[int, int] = {}

    def check(self, device: torch.device) -> None:
        if device.type != self.device_type:
            raise MisconfigurationException(
                f"`MixedPrecision({self.precision!r}, device={self.device_type!r})` does nothing on a {device.type} "
                f"device. Pass `device={device.type!r}`, or `precision={self.precision!r}` in its place."
            )
        if not torch.amp.is_autocast_available(device.type):
            raise MisconfigurationException(
                f"`precision={self.precision!r}` needs torch's autocast, which {device.type!r} devices lack. "
                "Use '32-true' or 'bf16-true'."
            )

    def forward_context(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device_type, self.compute_dtype)

    def convert_output(self, data: Any) -> Any:
        return cast_floats(data, torch.get_default_dtype())

    def scale(self, loss: Tensor) -> Tensor:
        if self.scaler is None:
            return loss
        self._update()
        self._scaled += 1
        scaled: Tensor = self.scaler.scale(loss)
        return scaled

    def unscale_gradients(self, optimizer: Any) -> None:
        if self.scaler is not None and id(optimizer) not in self._unscaled and _has_gradients(optimizer):
            self._check_scaled(optimizer)
            self._unscaled.add(id(optimizer))
            self.scaler.unscale_(optimizer)

    def optimizer_step(self, optimizer: Any, closure: Callable[[], Any] | None = None) -> bool:
        if self.scaler is None:
            return super().optimizer_step(optimizer, closure)
        if closure is not None:
            if isinstance(optimizer, torch.optim.LBFGS):
                raise MisconfigurationException(
                    "`LBFGS` evaluates the loss several times a step, which scaled gradients do not allow. "
                    "Use precision 'bf16-mixed' or '32-true'."
                )
            closure()
        if id(optimizer) in self._stepped:
            self._update()
        if not _has_gradients(optimizer):
            return super().optimizer_step(optimizer)
        self._check_scaled(optimizer)
        self._scaled_before[id(optimizer)] = self._scaled
        # Fused optimizers are always called and leave the step out themselves, told by `found_inf`.
        calls: list[Any] = []
        note = optimizer.register_step_post_hook(lambda made, *_: calls.append(getattr(made, "found_inf", None)))
        self.scaler.step(optimizer)
        note.remove()
        self._stepped.add(id(optimizer))
        return bool(calls) and (calls[0] is None or not calls[0].item())

    def _check_scaled(self, optimizer: Any) -> None:
        if self._scaled == self._scaled_before.get(id(optimizer), 0):
            raise RuntimeError(
                f"`{type(optimizer).__name__}` got gradients of a loss not scaled as {self.precision!r} needs it. "
                "Call `fabric.backward(loss)`, or in a module `self.manual_backward(loss)`, not `loss.backward()`."
            )

    def _update(self) -> None:
        """Adjust the scale, but not before all optimizers have stepped on gradients that it scaled."""
        if self._stepped:
            self.scaler.update()
            self._stepped.clear()
            self._unscaled.clear()

    def state_dict(self) -> dict[str, Any]:
        if self.scaler is None:
            return {}
        self._update()
        state: dict[str, Any] = self.scaler.state_dict()
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if self.scaler is not None and state_dict:
            self.scaler.load_state_dict(state_dict)


class TruePrecision(Precision):
    """One dtype for everything; what the user makes inside has it too."""

    def __init__(self, precision: str, dtype: torch.dtype) -> None:
        self.precision = precision
        self.param_dtype = self.compute_dtype = dtype

    def convert_module(self, module: nn.Module) -> nn.Module:
        return module.to(self.param_dtype)

    def convert_input(self, data: Any) -> Any:
        return cast_floats(data, self.param_dtype)

    def convert_output(self, data: Any) -> Any:
        return cast_floats(data, torch.get_default_dtype())

    def forward_context(self) -> AbstractContextManager[Any]:
        return _default_dtype(self.param_dtype)

    def tensor_init_context(self) -> AbstractContextManager[Any]:
        return _default_dtype(self.param_dtype)


class HalfPrecision(TruePrecision):
    """Everything in 16 bits: "16-true" or "bf16-true"; half the memory, no scaling."""

    def __init__(self, precision: str = "16-true") -> None:
        if precision not in ("16-true", "bf16-true"):
            raise ValueError(
                f"`precision` of HalfPrecision must be '16-true' or 'bf16-true', got {precision!r}. "
                + did_you_mean(str(precision), ("16-true", "bf16-true"))
            )
        super().__init__(precision, torch.float16 if precision == "16-true" else torch.bfloat16)


class DoublePrecision(TruePrecision):
    """Everything in 64 bits, complex numbers too: "64-true"."""

    def __init__(self) -> None:
        super().__init__("64-true", torch.float64)

    def check(self, device: torch.device) -> None:
        if device.type == "mps":
            raise MisconfigurationException(
                "`precision='64-true'` was asked for, but MPS has no 64-bit numbers. "
                "Use '32-true', or `accelerator='cpu'`."
            )

    def convert_module(self, module: nn.Module) -> nn.Module:
        return module.double()


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _has_gradients(optimizer: Any) -> bool:
    return any(p.grad is not None for group in optimizer.param_groups for p in group["params"])
