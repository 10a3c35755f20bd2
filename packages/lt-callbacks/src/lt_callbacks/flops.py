"""Operations: how many a module does, and how many a device can do."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

# Dense peaks by the makers' data sheets, in 10^12 per second: float64, float32, tf32, float16 and bfloat16.
PEAKS: dict[str, tuple[float | None, float, float | None, float | None]] = {
    "B200": (37, 75, 1125, 2250),
    "GH200": (34, 67, 494.7, 989.4),
    "H200": (34, 67, 494.7, 989.4),
    "H100 PCIe": (26, 51, 378, 756),
    "H100 NVL": (30, 60, 417.5, 835),
    "H100": (34, 67, 494.7, 989.4),
    "A100": (9.7, 19.5, 156, 312),
    "A6000": (None, 38.7, 77.4, 154.8),
    "A40": (None, 37.4, 74.8, 149.7),
    "A30": (5.2, 10.3, 82, 165),
    "A10G": (None, 31.5, 35, 70),
    "A10": (None, 31.2, 62.5, 125),
    "L40S": (None, 91.6, 183, 362),
    "L40": (None, 90.5, 90.5, 181),
    "L4": (None, 30.3, 60, 121),
    "T4": (None, 8.1, None, 65),
    "V100-PCIE": (7, 14, None, 112),
    "V100": (7.8, 15.7, None, 125),
    "RTX 4090": (None, 82.6, 82.6, 165.2),
    "RTX 3090": (None, 35.6, 35.6, 71),
}


def measure_flops(
    model: nn.Module, forward_fn: Callable[[], Any], loss_fn: Callable[[Any], Tensor] | None = None
) -> int:
    """Operations of `forward_fn`, and with `loss_fn` of the backward pass from its loss; works on the meta device."""
    with FlopCounterMode(display=False) as counter:
        output = forward_fn()
        if loss_fn is not None:
            loss_fn(output).backward()  # type: ignore[no-untyped-call]
    return int(counter.get_total_flops())


def get_available_flops(device: torch.device, dtype: torch.dtype) -> float | None:
    """Peak operations per second of a CUDA device in this dtype; None where they are not known."""
    if device.type != "cuda":
        return None
    return peak(torch.cuda.get_device_name(device), dtype)


def peak(name: str, dtype: torch.dtype) -> float | None:
    """The same for a device called `name`; float32 means tf32 where torch may use it."""
    row = next((row for chip, row in PEAKS.items() if chip.lower() in name.lower()), None)
    if row is None:
        return None
    double, single, tf32, half = row
    if dtype == torch.float32 and torch.get_float32_matmul_precision() != "highest":
        single = tf32 or single
    tera = {torch.float64: double, torch.float32: single, torch.float16: half, torch.bfloat16: half}.get(dtype)
    return None if tera is None else tera * 1e12
