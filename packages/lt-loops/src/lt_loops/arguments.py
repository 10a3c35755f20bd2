"""The arguments of the trainer as users write them, each checked once."""

from datetime import timedelta
from typing import Any

from lt_interfaces import MisconfigurationException


def seconds(name: str, value: Any) -> float:
    """Seconds of a timedelta, a dict of its arguments, or a string "DD:HH:MM:SS"."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    try:
        if isinstance(value, dict):
            return timedelta(**value).total_seconds()
        days, hours, minutes, secs = (int(part) for part in value.split(":"))
        return timedelta(days=days, hours=hours, minutes=minutes, seconds=secs).total_seconds()
    except (AttributeError, TypeError, ValueError) as error:
        raise MisconfigurationException(
            f"`{name}` got {value!r}, which is no duration. Use 'DD:HH:MM:SS', a timedelta or a dict for one."
        ) from error


def count(name: str, value: Any, least: int, none: bool = False) -> Any:
    """An integer no smaller than `least`, as given."""
    if (value is None and none) or (isinstance(value, int) and not isinstance(value, bool) and value >= least):
        return value
    kind = TypeError if not isinstance(value, int) or isinstance(value, bool) else MisconfigurationException
    raise kind(f"`{name}` got {value!r}. Give an integer of at least {least}" + (" or leave it out." if none else "."))


def share(name: str, value: Any) -> int | float:
    """A number of batches (int) or a share of them (float from 0 to 1)."""
    if value is None:
        return 1.0
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"`{name}` got {value!r}. Give a number of batches (int) or a share of them (float, 0 to 1).")
    if value < 0 or (isinstance(value, float) and value > 1):
        raise MisconfigurationException(
            f"`{name}` got {value!r}. Give a number of batches (int, 0 or more) or a share of them (float, 0 to 1)."
        )
    return value


def fast_dev_run(value: Any) -> bool | int:
    """False, or the number of batches of a dry run."""
    if value is True or value is False:
        return 1 if value else False
    return count("fast_dev_run", value, 0) or False


def fraction(value: Any) -> float:
    """The share of an epoch that an interval is; 0 if it is none."""
    return value if isinstance(value, float) else 0.0


def interval(value: Any) -> Any:
    """A share of an epoch (float), a number of batches (int) or a duration, as given."""
    if value is None:
        return 1.0
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        seconds("val_check_interval", value)
        return value
    if isinstance(value, float) and value > 1 and value.is_integer():
        return int(value)
    if value <= 0 or (isinstance(value, float) and value > 1):
        raise MisconfigurationException(
            f"`val_check_interval` got {value!r}. Give a share of an epoch (float up to 1.0), a number of batches "
            "(int) or a duration."
        )
    return value


def clipping(value: Any, algorithm: Any) -> tuple[float | None, str | None]:
    """Clip value or None, and the algorithm in lower case or None."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
        raise TypeError(f"`gradient_clip_val` got {value!r}. Give a number, or None for no clipping.")
    if algorithm is not None and str(algorithm).lower() not in ("norm", "value"):
        raise MisconfigurationException(f"`gradient_clip_algorithm` got {algorithm!r}. Use 'norm' or 'value'.")
    return (value if value and value > 0 else None), (str(algorithm).lower() if algorithm is not None else None)


def as_list(given: Any) -> list[Any]:
    """What was given as a list: nothing, one thing or several."""
    if given is None:
        return []
    return list(given) if isinstance(given, (list, tuple)) else [given]
