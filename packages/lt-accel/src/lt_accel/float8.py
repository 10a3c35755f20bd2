"""Matrix products in 8-bit floats, by torchao or by NVIDIA's TransformerEngine; both are imported when first used."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import torch
from lt_interfaces import MisconfigurationException
from torch import nn

from lt_accel.precision import HalfPrecision, Precision


class Float8Precision(Precision):
    """The precision "fp8": float32 parameters, linear layers multiplied in 8 bits by torchao.

    `config` is a `torchao.float8.Float8LinearConfig`; with `emulate=True` it computes the same numbers on any device,
    slowly. Layers whose sizes are no multiples of 16 and those in `ignore_modules`, by name, are left as they are.
    """

    precision = "fp8"

    def __init__(self, config: Any = None, ignore_modules: set[str] | None = None) -> None:
        try:
            float8 = import_module("torchao.float8")
        except ImportError as error:
            raise ImportError("`precision='fp8'` needs torchao. Run `pip install 'lt-accel[fp8]'`.") from error
        self._convert = float8.convert_to_float8_training
        self._config = config or float8.Float8LinearConfig()
        self._ignored = set(ignore_modules or ())
        self.compute_dtype = torch.float8_e4m3fn

    def check(self, device: torch.device) -> None:
        if device.type != "cuda" and not getattr(self._config, "emulate", False):
            raise MisconfigurationException(
                f"`precision='fp8'` needs a GPU that multiplies 8-bit floats, and this is a {device.type} device. Use "
                "'bf16-mixed', or `Float8Precision(Float8LinearConfig(emulate=True))` to try the arithmetic."
            )

    def convert_module(self, module: nn.Module) -> nn.Module:
        if not any(self._takes(part, name) for name, part in module.named_modules()):
            raise MisconfigurationException(
                f"`precision='fp8'` finds nothing to do in `{type(module).__name__}`: there is no linear layer in it "
                "whose sizes are multiples of 16. Use 'bf16-mixed'."
            )
        self._convert(module, config=self._config, module_filter_fn=self._takes)
        return module

    def _takes(self, module: nn.Module, name: str) -> bool:
        fits = isinstance(module, nn.Linear) and module.in_features % 16 == module.out_features % 16 == 0
        return fits and name not in self._ignored and name != ""


class TransformerEnginePrecision(HalfPrecision):
    """16-bit parameters, linear layers and layer norms replaced by TransformerEngine's, which multiply in 8 bits.

    `recipe` is one of `transformer_engine.common.recipe`. `replace_layers=False` is for a module of such layers.
    """

    def __init__(
        self, *, weights_dtype: torch.dtype = torch.bfloat16, recipe: Any = None, replace_layers: bool = True
    ) -> None:
        if weights_dtype not in (torch.bfloat16, torch.float16):
            raise ValueError(
                f"`weights_dtype` must be torch.bfloat16 or torch.float16, got {weights_dtype!r}. Pass one of these."
            )
        try:
            engine = import_module("transformer_engine.pytorch")
        except ImportError as error:
            raise ImportError(
                "`precision='transformer-engine'` needs NVIDIA's TransformerEngine. Run "
                "`pip install 'lt-accel[transformer-engine]'`, or use `precision='fp8'` with torchao."
            ) from error
        super().__init__("bf16-true" if weights_dtype == torch.bfloat16 else "16-true")
        self._engine, self._recipe, self._replaces = engine, recipe, replace_layers
        self.precision = "transformer-engine" if weights_dtype == torch.bfloat16 else "transformer-engine-float16"
        self.compute_dtype = torch.float8_e4m3fn

    def check(self, device: torch.device) -> None:
        if device.type != "cuda":
            raise MisconfigurationException(
                f"`precision={self.precision!r}` needs an NVIDIA GPU, and this is a {device.type} device. "
                "Use 'bf16-mixed'."
            )

    def convert_module(self, module: nn.Module) -> nn.Module:
        if self._replaces:
            self._replace(module)
        return super().convert_module(module)

    def _replace(self, module: nn.Module) -> None:
        for name, child in list(module.named_children()):
            made: Any = None
            if type(child) is nn.Linear and child.in_features % 16 == 0 and child.out_features % 16 == 0:
                made = self._engine.Linear(child.in_features, child.out_features, bias=child.bias is not None)
            elif type(child) is nn.LayerNorm and len(child.normalized_shape) == 1 and child.bias is not None:
                made = self._engine.LayerNorm(child.normalized_shape[0], eps=child.eps)
            if made is None:
                self._replace(child)
                continue
            made.load_state_dict(child.state_dict(), strict=False)
            setattr(module, name, made)

    @contextmanager
    def forward_context(self) -> Iterator[None]:
        with super().forward_context(), self._engine.fp8_autocast(enabled=True, fp8_recipe=self._recipe):
            yield
