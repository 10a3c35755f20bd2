"""Hyperparameters: what an object was built with, kept on it, and the plain part of it for files."""

import argparse
import copy
import sys
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from types import FrameType, SimpleNamespace
from typing import Any

from lt_checkpoint import plain
from lt_interfaces import did_you_mean, rank_zero_warn
from lt_interfaces.masking import masked
from torch import nn

from lt_module.attribute_dict import AttributeDict
from lt_module.init_arguments import running_init_arguments


class HyperparametersMixin:
    """Gives a class `save_hyperparameters()` and `hparams`; works on any class, not on modules alone."""

    _hparams: AttributeDict | None = None
    _hparams_initial: AttributeDict | None = None
    _hparams_name: str | None = None
    _hparams_ignored: frozenset[str] = frozenset()
    _hparams_passed_on: frozenset[str] = frozenset()
    _hparams_refused: frozenset[str] = frozenset()
    _log_hyperparams: bool = False

    @property
    def hparams(self) -> AttributeDict:
        """The hyperparameters, with keys as attributes; may be changed."""
        if self._hparams is None:
            self._hparams = AttributeDict()
        return self._hparams

    @property
    def hparams_initial(self) -> AttributeDict:
        """A fresh copy of the hyperparameters as they were when last saved."""
        return _copied(self._hparams_initial or {})

    def save_hyperparameters(
        self,
        *args: Any,
        ignore: Iterable[str] | str | None = None,
        frame: FrameType | None = None,
        logger: bool = True,
    ) -> None:
        """Keep the arguments of the running `__init__` in `self.hparams`, those of its subclasses included.

        Args:
            args: Names to keep, or one object (dict, Namespace, dataclass) whose content is kept; nothing keeps all.
            ignore: Names to leave out, also where a base or a subclass keeps them.
            frame: Where to look for the running `__init__`, if not in the caller.
            logger: Whether loggers get them; checkpoints do in any case.
        """
        found, passed_on = running_init_arguments(self, frame or sys._getframe(1))
        self._hparams_passed_on = self._hparams_passed_on.union(passed_on)
        found = {key: value for key, value in found.items() if key not in self._hparams_passed_on}
        chosen, name = _choose(type(self).__name__, args, found)
        self.remove_ignored_hparams([ignore] if isinstance(ignore, str) else ignore or ())
        for key in passed_on:
            self.hparams.pop(key, None)
        self.hparams.update({key: value for key, value in chosen.items() if key not in self._hparams_ignored})
        if chosen or not args:
            self._hparams_name = name
            self._log_hyperparams = logger
        self._hparams_initial = _copied(self.hparams)
        self._warn_of_refused()

    def remove_ignored_hparams(self, ignore_list: Iterable[str]) -> None:
        """Drop these names from `self.hparams`, and keep none of them later."""
        self._hparams_ignored = self._hparams_ignored.union(ignore_list)
        for key in self._hparams_ignored:
            self.hparams.pop(key, None)

    def hparams_to_save(self) -> dict[str, Any]:
        """The hyperparameters as plain data for a checkpoint, secrets as `***`; what cannot be plain is left out."""
        return _split(self.hparams)[0]

    def _warn_of_refused(self) -> None:
        refused = {key: kind for key, kind in _split(self.hparams)[1].items() if key not in self._hparams_refused}
        if not refused:
            return
        self._hparams_refused = self._hparams_refused.union(refused)
        listed = ", ".join(f"`{key}` ({kind})" for key, kind in refused.items())
        rank_zero_warn(
            f"Checkpoints hold plain data only, so they leave out the hyperparameters {listed}. "
            f"Call `save_hyperparameters(ignore={sorted(refused)!r})` and pass them to `load_from_checkpoint`.",
            stacklevel=5,
        )


def _choose(owner: str, args: tuple[Any, ...], found: dict[str, Any]) -> tuple[dict[str, Any], str]:
    if len(args) == 1 and not isinstance(args[0], str):
        return _content(args[0]), next((key for key, value in found.items() if value is args[0]), "kwargs")
    if not all(isinstance(arg, str) for arg in args):
        raise TypeError(f"`save_hyperparameters` got {args!r}. Pass names only, or one object that holds all.")
    for arg in args:
        if arg not in found:
            raise ValueError(f"`{owner}.__init__` has no argument `{arg}`. {did_you_mean(arg, found)}")
    return ({arg: found[arg] for arg in args} if args else found), "kwargs"


def _content(obj: Any) -> dict[str, Any]:
    if isinstance(obj, Mapping):
        return dict(obj)
    if isinstance(obj, argparse.Namespace | SimpleNamespace):
        return dict(vars(obj))
    if is_dataclass(obj) and not isinstance(obj, type):
        return {field.name: getattr(obj, field.name) for field in fields(obj)}
    raise TypeError(
        f"`save_hyperparameters` cannot keep the {type(obj).__name__} {obj!r}. "
        "Pass names of arguments as strings, or a dict, a Namespace or a dataclass."
    )


def _split(hparams: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The plain part, and the kinds of values that have none."""
    kept: dict[str, Any] = {}
    refused: dict[str, str] = {}
    for key, value in hparams.items():
        try:
            if isinstance(value, nn.Module):
                raise TypeError
            # Masked before, since a `SecretStr` has no plain form, and after, since a dataclass has no names before.
            kept[key] = masked(plain(masked(value, key), where=f"hyper_parameters.{key}"), key)
        except TypeError:
            refused[key] = type(value).__name__
    return kept, refused


def _copied(hparams: Mapping[str, Any]) -> AttributeDict:
    return AttributeDict({key: _copied_value(value) for key, value in hparams.items()})


def _copied_value(value: Any) -> Any:
    if isinstance(value, nn.Module):
        return value  # a second set of weights would cost memory and is of no use
    try:
        return copy.deepcopy(value)
    except Exception:  # locks, generators, open files: whatever refuses a copy is shared
        return value
