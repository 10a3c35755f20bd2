"""Where one run's files go: names checked, the version taken race-free, nothing written before it is needed."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path, PureWindowsPath
from typing import Any

from lt_interfaces import rank_zero_only

from lt_loggers.hparams import plain_hparams, save_hparams_to_yaml

StrPath = str | os.PathLike[str]


class RunDirectory:
    """The folder `save_dir/name/version[/sub_dir]`; `name`, `version` and `sub_dir` cannot lead out of `save_dir`.

    `version=None` takes what `choose()` says, by default the number after the highest existing one; an int N means
    `version_N`, a string itself.
    """

    def __init__(
        self,
        save_dir: StrPath | None,
        root_dir: StrPath | None,
        name: str | None,
        version: int | str | None,
        sub_dir: StrPath | None = None,
        choose: Callable[[], int | str] | None = None,
    ) -> None:
        self.save_dir = _local_folder(save_dir, root_dir)
        self.name = name or ""
        self.root_dir = os.path.join(self.save_dir, self.name) if self.name else self.save_dir
        self._version = _checked_version(version)
        self._choose = choose or self._take_version
        self.sub_dir = os.fspath(sub_dir or "")
        self._hparams: dict[str, Any] = {}
        folder = _folder(self._version) if self._version is not None else ""
        parts = {"name": self.name, "version": folder, "sub_dir": self.sub_dir}
        for argument, part in parts.items():
            _check_part(argument, part)
        _check_inside(self.save_dir, parts)

    @property
    def version(self) -> int | str | None:
        """The version; if none was given, rank zero takes one now and other ranks get None."""
        if self._version is None:
            self._version = rank_zero_only(self._choose)()
        return self._version

    @property
    def log_dir(self) -> str | None:
        """The run's folder, which may not be there yet; None where the version is not known."""
        version = self.version
        return None if version is None else os.path.join(self.root_dir, *filter(None, (_folder(version), self.sub_dir)))

    def make(self) -> Path:
        """The run's folder, there and absolute, so that a later change of directory does not move it."""
        path = Path(self.log_dir or self.root_dir).absolute()
        path.mkdir(parents=True, exist_ok=True)
        return path

    def save_hparams(self, params: Any) -> dict[str, Any]:
        """Add to the run's `hparams.yaml`; returns what was added, as plain values."""
        added = plain_hparams(params)
        self._hparams.update(added)
        save_hparams_to_yaml(self.make() / "hparams.yaml", self._hparams)
        return added

    def _take_version(self) -> int:
        os.makedirs(self.root_dir, exist_ok=True)
        taken = (re.fullmatch(r"version_([0-9]+)", entry) for entry in os.listdir(self.root_dir))
        version = max((int(match[1]) for match in taken if match), default=-1) + 1
        while True:
            try:
                os.mkdir(os.path.join(self.root_dir, _folder(version)))
            except FileExistsError:
                version += 1
            else:
                return version


def _folder(version: int | str) -> str:
    return version if isinstance(version, str) else f"version_{version}"


def _local_folder(save_dir: StrPath | None, root_dir: StrPath | None) -> str:
    given = [os.fspath(folder) for folder in (save_dir, root_dir) if folder is not None]
    if len(given) != 1:
        raise TypeError(
            f"A logger needs `save_dir` or its other spelling `root_dir`, got {'both' if given else 'neither'}. "
            "Give the folder for the runs as `save_dir`."
        )
    if "://" in given[0]:
        raise ValueError(f"`save_dir` must be a local folder, got {given[0]!r}. Log locally and copy the folder after.")
    return os.path.expanduser(os.path.expandvars(given[0]))


def _checked_version(version: int | str | None) -> int | str | None:
    if version is not None and not isinstance(version, str) and (isinstance(version, bool) or version < 0):
        raise ValueError(
            f"`version` must be a number from 0, a name or None, got {version!r}. Use None to number runs."
        )
    return version


def _check_part(argument: str, part: str) -> None:
    # PureWindowsPath splits at both kinds of slash and knows drives, so a name is as good on every system.
    path = PureWindowsPath(part)
    if path.anchor or ".." in path.parts or not part.isprintable():
        raise ValueError(
            f"`{argument}` must stay inside `save_dir`, got {part!r}. Use a plain folder name, without '..', a leading "
            "slash or control characters."
        )


def _check_inside(save_dir: str, parts: dict[str, str]) -> None:
    path = os.path.join(save_dir, *parts.values())
    if not Path(path).resolve().is_relative_to(Path(save_dir).resolve()):
        raise ValueError(
            f"{path!r} is a link that leads out of `save_dir` {save_dir!r}. Give the link's target as `save_dir`."
        )
