"""Round numbers for axes, and numbers as text that fits."""

import math
from collections.abc import Sequence
from itertools import pairwise

UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"))


def linear_ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Round values that enclose the range, about `count` steps apart."""
    low, high = _widened(low, high)
    step = round_step((high - low) / count)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [i * step for i in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten within the positive range; where they are few, 2 and 5 times them as well."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    every = max(1, -(-(last - first) // 6))
    powers = [10.0**exponent for exponent in range(-(-first // every) * every, last + 1, every)]
    ticks = [tick for tick in powers if low <= tick <= high]
    if len(ticks) < 3 and every == 1:
        ticks = [tick for power in powers for tick in (power, 2 * power, 5 * power) if low <= tick <= high]
    return ticks


def whole_ticks(low: int, high: int, count: int = 8) -> list[int]:
    """Round whole numbers within the range."""
    step = max(1, int(round_step((high - low) / count, (1, 2, 5, 10)))) if high > low else 1
    return list(range(-(-low // step) * step, high + 1, step))


def round_step(rough: float, mantissas: Sequence[float] = (1, 2, 2.5, 5, 10)) -> float:
    """The next round number: 1, 2, 2.5 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(mantissa for mantissa in mantissas if rough <= mantissa * power * (1 + 1e-9)) * power


def tick_texts(ticks: Sequence[float]) -> list[str]:
    """The ticks as short text, with as many places as tell them apart."""
    top = max(abs(tick) for tick in ticks)
    step = min((abs(b - a) for a, b in pairwise(ticks)), default=top) or 1.0
    if top < 1e-3 or top >= 1e15:
        digits = max(0, math.floor(math.log10(top or 1)) - math.floor(math.log10(step)))
        return [_short_power(f"{tick:.{min(digits, 3)}e}") if tick else "0" for tick in ticks]
    size, unit = next(((size, unit) for size, unit in UNITS if top >= size), (1.0, ""))
    if step < size / 1000:
        size, unit = 1.0, ""
    places = next((n for n in range(6) if abs(round(step / size, n) - step / size) < step / size / 1000), 6)
    return [f"{tick / size:,.{places}f}{unit}" if tick else "0" for tick in ticks]


def log_texts(ticks: Sequence[float]) -> list[str]:
    """The ticks of a logarithmic axis as short text, each for itself."""
    return [tick_texts([tick])[0] if tick >= 1e6 else number_text(tick) for tick in ticks]


def number_text(value: float) -> str:
    """Four significant digits; whole and large numbers in full."""
    if abs(value) < 1e9 and (abs(value) >= 1e3 or value == int(value)):
        return f"{round(value):,}"
    return _short_power(f"{value:.4g}")


def _short_power(text: str) -> str:
    mantissa, _, power = text.partition("e")
    if "." in mantissa:
        mantissa = mantissa.rstrip("0").rstrip(".") if power else mantissa
    return f"{mantissa}e{int(power)}" if power else mantissa


def _widened(low: float, high: float) -> tuple[float, float]:
    size = max(abs(low), abs(high))
    if size < 1e-290:
        return 0.0, 1.0
    if high - low > 1e-9 * size:
        return low, high
    return min(0.0, 1.25 * low), max(0.0, 1.25 * high)
