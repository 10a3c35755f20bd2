"""The warnings of a run, counted while they are shown."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from lt_loggers.masking import without_secrets

MOST = 50


class ShownWarnings:
    """Counts by text and place what Python warns of between `start` and `stop`; it is shown as before."""

    def __init__(self, counts: dict[tuple[str, str], int]) -> None:
        self.counts = counts
        self._link: Link | None = None

    def start(self) -> None:
        """Listen, if not yet."""
        if self._link is None or warnings.showwarning != self._link:
            self._link = Link(self, warnings.showwarning)
            warnings.showwarning = self._link

    def stop(self) -> None:
        """Listen no more."""
        if self._link is not None and warnings.showwarning == self._link:
            warnings.showwarning = self._link.former
        self._link = None

    def note(self, link: Link, text: str, place: str) -> None:
        """Count, unless the link is one of before that others still call."""
        key = (text, place)
        if link is self._link and (key in self.counts or len(self.counts) < MOST):
            self.counts[key] = self.counts.get(key, 0) + 1


class Link:
    """Stands in the place of `warnings.showwarning` and calls what was there."""

    def __init__(self, listener: ShownWarnings, former: Callable[..., None]) -> None:
        self.listener, self.former = listener, former

    def __call__(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        place = f"{'/'.join(Path(filename).parts[-2:])}:{lineno}"
        self.listener.note(self, without_secrets(f"{category.__name__}: {message}"), place)
        self.former(message, category, filename, lineno, file, line)
