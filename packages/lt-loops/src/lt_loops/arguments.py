"""The arguments of the trainer as users write them, each checked once."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Self

from lt_interfaces import MisconfigurationException, did_you_mean


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


class Checks:
    """Checks called one after another; what they complain of is raised together when the block ends."""

    def __init__(self) -> None:
        self.errors: list[Exception] = []

    def __enter__(self) -> Self:
        return self

    def __call__(self, check: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """What the check returns, or None if it complains."""
        try:
            return check(*args, **kwargs)
        except (TypeError, ValueError) as error:
            self.errors.append(error)
            return None

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and len(self.errors) == 1:
            raise self.errors[0]
        if kind is None and self.errors:
            raise MisconfigurationException(" ".join(map(str, self.errors)))


def flag(name: str, value: Any) -> bool:
    """True or False and nothing that is only like it."""
    if isinstance(value, bool):
        return value
    raise TypeError(f"`{name}` got {value!r}. Give True or False.")


def count(name: str, value: Any, least: int, none: bool = False, default: int | None = None) -> Any:
    """An integer no smaller than `least`, as given; None if `none` allows it, or for the default."""
    if value is None and default is not None:
        return default
    if (value is None and none) or (isinstance(value, int) and not isinstance(value, bool) and value >= least):
        return value
    kind = TypeError if not isinstance(value, int) or isinstance(value, bool) else MisconfigurationException
    remedy = f"Give an integer of at least {least}" + (" or leave it out." if none else ".")
    if isinstance(value, dict):
        remedy += f" For one that changes pass `callbacks=[GradientAccumulationScheduler({value!r})]`."
    raise kind(f"`{name}` got {value!r}. {remedy}")


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


def validation_agrees(interval: Any, every_n_epoch: int | None) -> None:
    """A share of an epoch makes no sense where batches are counted over epochs."""
    if every_n_epoch is None and isinstance(interval, float) and interval < 1:
        raise MisconfigurationException(
            f"`check_val_every_n_epoch=None` counts batches over epochs, and `val_check_interval={interval}` is a "
            "share of one. Give `val_check_interval` as an integer or a duration."
        )


def limits_agree(max_epochs: int | None, min_epochs: int | None, max_steps: int | None, min_steps: int) -> None:
    """No minimum above its maximum."""
    for unit, least, most in (("epochs", min_epochs, max_epochs), ("steps", min_steps, max_steps)):
        if least and most not in (None, -1) and least > most:
            raise MisconfigurationException(
                f"`min_{unit}={least}` is more than `max_{unit}={most}`. Raise the one or lower the other."
            )


def clip_val(value: Any) -> float | None:
    """The value to clip to, or None."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
        raise TypeError(f"`gradient_clip_val` got {value!r}. Give a number, or None for no clipping.")
    return value if value and value > 0 else None


def clip_algorithm(value: Any) -> str | None:
    """The algorithm, "norm" or "value" in lower case, or None."""
    if value is not None and str(value).lower() not in ("norm", "value"):
        raise MisconfigurationException(
            f"`gradient_clip_algorithm` got {value!r}. {did_you_mean(str(value), ('norm', 'value'))}"
        )
    return None if value is None else str(value).lower()


def as_list(given: Any) -> list[Any]:
    """What was given as a list: nothing, one thing or several."""
    if given is None:
        return []
    return list(given) if isinstance(given, (list, tuple)) else [given]
