"""Precisions by name, and what each of them means for the tensors of a run, in one sentence."""

from collections.abc import Callable
from functools import partial

import torch
from lt_interfaces import MisconfigurationException, did_you_mean

from lt_accel.float8 import Float8Precision, TransformerEnginePrecision
from lt_accel.precision import DoublePrecision, HalfPrecision, MixedPrecision, Precision

_MAKERS: dict[str, Callable[[str], Precision]] = {
    "32-true": lambda device: Precision(),
    "64-true": lambda device: DoublePrecision(),
    "16-true": lambda device: HalfPrecision("16-true"),
    "bf16-true": lambda device: HalfPrecision("bf16-true"),
    "16-mixed": partial(MixedPrecision, "16-mixed"),
    "bf16-mixed": partial(MixedPrecision, "bf16-mixed"),
    "fp8": lambda device: Float8Precision(),
    "transformer-engine": lambda device: TransformerEnginePrecision(),
    "transformer-engine-float16": lambda device: TransformerEnginePrecision(weights_dtype=torch.float16),
}
_SHORT = {"32": "32-true", "64": "64-true", "16": "16-mixed", "bf16": "bf16-mixed"}
_BITSANDBYTES = ("bitsandbytes", "nf4", "nf4-dq", "fp4", "fp4-dq", "int8", "int8-training")


def choose_precision(precision: Precision | str | int | None, device: torch.device) -> Precision:
    """The object behind a name such as "bf16-mixed"; 16, "16" and "bf16" mean the mixed ones."""
    if not isinstance(precision, Precision):
        name = "32-true" if precision is None else str(precision)
        name = _SHORT.get(name, name)
        if name in _BITSANDBYTES:
            raise MisconfigurationException(
                f"`precision={precision!r}` is quantization by bitsandbytes, which is a plugin. Pass e.g. "
                "`plugins=BitsandbytesPrecision('nf4')`."
            )
        if name not in _MAKERS:
            raise ValueError(f"There is no precision {precision!r}. {did_you_mean(name, _MAKERS)}")
        precision = _MAKERS[name](device.type)
    precision.check(device)
    return precision


def statement(precision: Precision, computed: torch.dtype, reduced: torch.dtype | None) -> str:
    """The dtypes of parameters, arithmetic, gradients and optimizer state; `reduced` is None if the module says it."""
    kept = _name(precision.param_dtype)
    how = " by autocast" if type(precision) is MixedPrecision else ""
    scaled = " after scaling" if precision.scaler is not None else ""
    summed = "what the module says" if reduced is None else _name(reduced)
    return (
        f"Precision {precision.precision}: parameters {kept}, computed in {_name(computed)}{how}{scaled}, "
        f"gradients reduced in {summed}, optimizer state {kept}."
    )


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
