"""The iteration in progress, as long as somebody holds it."""

import weakref
from typing import Generic, TypeVar

T = TypeVar("T")


class Current(Generic[T]):
    """Remembers an iterator without keeping it alive: one that was left by `break` is over; pickles as none."""

    def __init__(self) -> None:
        self._reference: weakref.ref[T] | None = None

    def get(self) -> T | None:
        """The iterator, or None if there is none in progress."""
        return None if self._reference is None else self._reference()

    def set(self, iterator: T | None) -> None:
        """Remember another one, or none."""
        self._reference = None if iterator is None else weakref.ref(iterator)

    def __reduce__(self) -> tuple[type["Current[T]"], tuple[()]]:
        return type(self), ()
