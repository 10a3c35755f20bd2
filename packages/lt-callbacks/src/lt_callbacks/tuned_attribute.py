"""A setting that is looked for by trying, wherever the user keeps it."""

from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

from lt_interfaces import nearest


class TunedAttribute:
    """A number kept on objects or in their `hparams`, under the first of `names` that is there; dots go deeper."""

    def __init__(self, names: tuple[str, ...], *owners: Any) -> None:
        self._owners = [owner for owner in owners if owner is not None]
        self.name, self._places = next(
            ((name, places) for name in names if (places := self._holders(name))), (names[0], [])
        )
        self._names = names

    @property
    def exists(self) -> bool:
        """False if nobody has it."""
        return bool(self._places)

    def set(self, value: Any) -> None:
        """Set it everywhere."""
        for holder, key in self._places:
            _set(holder, key, value)

    def restorer(self) -> Callable[[], None]:
        """What sets the values of now again."""
        before = [(holder, key, _get(holder, key)) for holder, key in self._places]

        def put_back() -> None:
            for holder, key, value in before:
                _set(holder, key, value)

        return put_back

    def missing(self, argument: str) -> str:
        """What to say if nobody has it."""
        wanted = "no " + " and no ".join(f"`{name}`" for name in self._names)
        kinds = " and ".join(f"`{type(owner).__name__}`" for owner in self._owners)
        known = {name for owner in self._owners for name in _numbers(owner)}
        close = next((match for name in self._names if (match := nearest(name, known))), None)
        remedy = (
            f"Did you mean `{argument}={close!r}`?"
            if close
            else f"Keep it there, e.g. `self.{self._names[-1]} = ...`, or name another with `{argument}`."
        )
        have = "have" if len(self._owners) > 1 else "has"
        return f"{kinds} {have} {wanted}, not in `hparams` either. {remedy}"

    def _holders(self, name: str) -> list[tuple[Any, str]]:
        *path, key = name.split(".")
        found = []
        for owner in self._owners:
            for holder in (owner, getattr(owner, "hparams", None)):
                for part in path:
                    holder = _get(holder, part)
                if _has(holder, key):
                    found.append((holder, key))
        return found


def _has(holder: Any, key: str) -> bool:
    return key in holder if isinstance(holder, Mapping) else holder is not None and hasattr(holder, key)


def _get(holder: Any, key: str) -> Any:
    return holder.get(key) if isinstance(holder, Mapping) else getattr(holder, key, None)


def _set(holder: Any, key: str, value: Any) -> None:
    if isinstance(holder, MutableMapping):
        holder[key] = value
    else:
        setattr(holder, key, value)


def _numbers(owner: Any) -> list[str]:
    """The names of the numbers that an owner has."""
    found = {**vars(owner), **(getattr(owner, "hparams", None) or {})}
    return [name for name, value in found.items() if isinstance(value, (int, float)) and not name.startswith("_")]
