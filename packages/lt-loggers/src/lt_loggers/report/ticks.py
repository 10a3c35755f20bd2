"""Round numbers for axes, and numbers as text that fits."""

import math
from collections.abc import Sequence


def linear_ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Round values that enclose the range, about `count` steps apart."""
    low, high = _widened(low, high)
    step = round_step((high - low) / count)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [i * step for i in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten that enclose the positive range, with 2 and 5 between where there are few."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    decades = max(1, last - first)
    if decades > 3:
        every = -(-decades // 6)
        last = first + -(-decades // every) * every
        return [10.0**exponent for exponent in range(first, last + 1, every)]
    ticks = [mantissa * 10.0**exponent for exponent in range(first, last + 1) for mantissa in (1, 2, 5)]
    below = max((i for i, tick in enumerate(ticks) if tick <= low), default=0)
    above = min((i for i, tick in enumerate(ticks) if tick >= high), default=len(ticks) - 1)
    return ticks[below : max(above, below + 1) + 1]


def whole_ticks(low: int, high: int, count: int = 6) -> list[int]:
    """Round whole numbers within the range."""
    step = max(1, int(round_step((high - low) / count, (1, 2, 5, 10)))) if high > low else 1
    return list(range(-(-low // step) * step, high + 1, step))


def round_step(rough: float, mantissas: Sequence[float] = (1, 2, 2.5, 5, 10)) -> float:
    """The next round number: 1, 2, 2.5 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(mantissa for mantissa in mantissas if rough <= mantissa * power * (1 + 1e-9)) * power


def tick_text(value: float, step: float) -> str:
    """A tick's value with as many places as its distance to the next one needs."""
    if value == 0:
        return "0"
    size = max(abs(value), step)
    if size >= 1e5 or step < 1e-4:
        places = max(0, math.floor(math.log10(size)) - math.floor(math.log10(step) + 1e-9))
        return _short_power(f"{value:.{min(places + (step_digits(step) - 1), 3)}e}") if size < 1e-3 or size >= 1e9 else _with_unit(value)
    places = max(0, -math.floor(math.log10(step) + 1e-9)) + (step_digits(step) - 1)
    return f"{value:,.{places}f}"


def number_text(value: float) -> str:
    """Four significant digits, whole numbers in full."""
    if value == int(value) and abs(value) < 1e9 if math.isfinite(value) else False:
        return f"{int(value):,}"
    text = f"{value:.4g}"
    return _short_power(text) if "e" in text else text
