"""Linear layers in 4 or 8 bits, by bitsandbytes, which is imported when it is first used."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import torch
import torch.distributed as dist
from lt_interfaces import MisconfigurationException, did_you_mean
from torch import nn
from torch.nn.modules.module import register_module_module_registration_hook

from lt_accel.precision import TruePrecision

_MODES = ("nf4", "nf4-dq", "fp4", "fp4-dq", "int8", "int8-training")


class BitsandbytesPrecision(TruePrecision):
    """Weights of linear layers in the 4 or 8 bits of bitsandbytes, which stay as they are; all else in `dtype`.

    Modes: "nf4", "fp4", the same with "-dq" (their scales quantized, too), "int8", and "int8-training", which keeps
    16-bit weights, trains them and multiplies in 8 bits. Without a `dtype` it is bfloat16 where the device has it;
    the 8-bit modes are for float16. Layers below a name in `ignore_modules` are left as they are.
    """

    replaces_parameters = True

    def __init__(self, mode: str, dtype: torch.dtype | None = None, ignore_modules: set[str] | None = None) -> None:
        if mode not in _MODES:
            raise ValueError(f"There is no `mode` {mode!r}. {did_you_mean(str(mode), _MODES)}")
        _layers()
        is_old = torch.cuda.is_available() and not torch.cuda.is_bf16_supported()
        dtype = dtype or (torch.float16 if is_old or mode.startswith("int8") else torch.bfloat16)
        known = (torch.float16,) if mode.startswith("int8") else (torch.bfloat16, torch.float16, torch.float32)
        if dtype not in known:
            raise ValueError(f"`dtype` of mode {mode!r} is {' or '.join(map(str, known))}, got {dtype!r}. Pass one.")
        super().__init__(mode, dtype)
        self._ignored = set(ignore_modules or ())
        self._device, self._is_shared = torch.device("cpu"), False

    def check(self, device: torch.device) -> None:
        if device.type not in ("cpu", "cuda") or (device.type == "cpu" and self.precision == "int8-training"):
            raise MisconfigurationException(
                f"`BitsandbytesPrecision({self.precision!r})` does not run on a {device.type} device. Use a CUDA GPU, "
                "on a CPU another mode than 'int8-training', or `precision='bf16-true'`."
            )
        self._device = device

    def connect(self, strategy: Any) -> None:
        if strategy.shards_modules:
            raise MisconfigurationException(
                f"`BitsandbytesPrecision` makes weights that `{type(strategy).__name__}` cannot deal out to processes. "
                "Use `strategy='ddp'`, or one device."
            )
        self._is_shared = strategy.distributed

    def convert_module(self, module: nn.Module) -> nn.Module:
        # Subclasses of linear layers are left: their owners use them in ways of their own, as attention does.
        everything = [(n, p) for n, p in module.named_modules(remove_duplicate=False) if type(p) is nn.Linear]
        found = [(n, p) for n, p in everything if not any(f"{n}.".startswith(f"{x}.") for x in self._ignored)]
        if not found and not any(_is_quantized(part) for part in module.modules()):
            raise MisconfigurationException(
                f"`BitsandbytesPrecision` finds no linear layer in `{type(module).__name__}` that it may quantize. "
                "Use `precision='bf16-true'`, or name less in `ignore_modules`."
            )
        made = {part: self._quantized(part) for _, part in found}
        if module in made:
            return made[module]
        for name, part in found:
            module.set_submodule(name, made[part])
        for one in module.modules():
            own = () if _is_quantized(one) else (*one.parameters(recurse=False), *one.buffers(recurse=False))
            for tensor in own:
                if tensor.is_floating_point():
                    tensor.data = tensor.data.to(self.param_dtype)
        return module

    @contextmanager
    def module_init_context(self) -> Iterator[None]:
        """Linear layers are quantized as soon as a module gets them; with `ignore_modules` not before `setup`."""

        def replace(owner: nn.Module, name: str, part: nn.Module | None) -> nn.Module | None:
            return self._quantized(part) if type(part) is nn.Linear and not self._ignored else None

        handle = register_module_module_registration_hook(replace)  # type: ignore[arg-type]
        try:
            with self.tensor_init_context():
                yield
        finally:
            handle.remove()

    def _quantized(self, layer: Any) -> nn.Module:
        """The layer on its device, in few bits; that of rank zero on all ranks."""
        sizes = (layer.in_features, layer.out_features, layer.bias is not None)
        if self.precision.startswith("int8"):
            trains = self.precision == "int8-training"
            made: Any = _layers().Linear8bitLt(*sizes, has_fp16_weights=trains, threshold=6.0, device="meta")
        else:
            made = _layers().Linear4bit(*sizes, compute_dtype=self.param_dtype, device="meta")
            made.support_avx512bf16_for_cpu = False  # a packing of weights for which sizes must be multiples of 32
        if self._is_shared:
            for tensor in layer.parameters():
                dist.broadcast(tensor.data, 0)
        made.weight = self._weight(made, layer.weight)
        if layer.bias is not None:
            made.bias = nn.Parameter(layer.bias.data.to(self._device, self.param_dtype), layer.bias.requires_grad)
        made.train(layer.training).register_load_state_dict_pre_hook(self._load)
        return made  # type: ignore[no-any-return]

    def _weight(self, layer: Any, weight: torch.Tensor) -> Any:
        """The weight as a parameter of this layer."""
        trains = self.precision == "int8-training"
        if self.precision.startswith("int8"):
            options: dict[str, Any] = {"requires_grad": trains and weight.requires_grad, "has_fp16_weights": trains}
        else:
            is_double = self.precision.endswith("-dq")
            options = {"quant_type": self.precision[:3], "compress_statistics": is_double, "module": layer}
        values = weight.detach().to("cpu", self.param_dtype)  # it is quantized on its way to the device
        return type(layer.weight)(values, **options).to(self._device)

    def _load(self, layer: Any, state: dict[str, Any], prefix: str, *_: Any) -> None:
        """Take a weight as this layer saves it, or in full."""
        name, scales = f"{prefix}weight", f"{prefix}SCB"
        if self.precision == "int8-training" or name not in state:
            return
        packed = {k.removeprefix(f"{name}."): state.pop(k) for k in list(state) if k.startswith(f"{name}.")}
        if state[name].is_floating_point():
            made = self._weight(layer, state[name])
        elif self.precision == "int8":
            made = type(layer.weight)(state[name].to(self._device), requires_grad=False)
            made.CB, made.SCB = made.data, state[scales].to(self._device)
        else:
            made = type(layer.weight).from_prequantized(state[name], packed, device=self._device, module=layer)
        layer.weight, state[name] = made, made.data
        if self.precision == "int8":
            state[scales] = made.SCB
            layer.state.CB = layer.state.SCB = None


def _is_quantized(part: nn.Module) -> bool:
    return isinstance(part, (_layers().Linear4bit, _layers().Linear8bitLt))


def _layers() -> Any:
    try:
        return import_module("bitsandbytes").nn
    except ImportError as error:
        told = "`BitsandbytesPrecision` needs bitsandbytes. Run `pip install 'lt-accel[bitsandbytes]'`."
        raise ImportError(told) from error
