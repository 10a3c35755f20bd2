"""Hyperparameters as plain values without secrets, and the `hparams.yaml` that holds them."""

import os
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml  # type: ignore[import-untyped]
from lt_interfaces.masking import MASK, is_secret, without_url_user
from lt_interfaces.whole_file import replacing

MAX_BYTES = 1_000_000


def plain_hparams(params: Any) -> dict[str, Any]:
    """The hyperparameters as YAML can hold them, secrets as `***`; other objects become their name or text.

    Secrets are those of `lt_interfaces.masking`: text under a key such as `api_key` or `auth_token`, a `SecretStr`,
    the user part of a URL. Numbers are never secrets: `max_tokens=512` stays.
    """
    result = {} if params is None else _plain(params)
    if not isinstance(result, dict):
        raise TypeError(f"`params` must be a mapping, Namespace or dataclass, got {params!r}. Use `dict(name=value)`.")
    return result


def flatten(params: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, the keys joined by `/`."""
    flat: dict[str, Any] = {}
    for key, value in params.items():
        nested = isinstance(value, Mapping) and value
        flat.update(flatten(value, f"{prefix}{key}/") if nested else {f"{prefix}{key}": value})
    return flat


def save_hparams_to_yaml(config_yaml: str | os.PathLike[str], hparams: Any) -> None:
    """Write hyperparameters as plain YAML, whole or not at all, secrets as `***`."""
    with replacing(Path(config_yaml)) as file:
        yaml.safe_dump(plain_hparams(hparams), file, sort_keys=False)


def load_hparams_from_yaml(config_yaml: str | os.PathLike[str]) -> dict[str, Any]:
    """Read hyperparameters; a file that asks for anything but plain values is refused."""
    path = Path(config_yaml)
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{str(path)!r} is larger than {MAX_BYTES} bytes. Give the `hparams.yaml` of a run.")
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{str(path)!r} is not plain YAML: {reason}. Remove what is not a plain value.") from error
    if loaded is not None and not isinstance(loaded, dict):
        raise ValueError(f"{str(path)!r} must hold a mapping, got {loaded!r}. Write it as `name: value` lines.")
    return loaded or {}


def _plain(value: Any) -> Any:
    fields_of = _fields(value)
    if fields_of is not None:
        return {_key(key): MASK if is_secret(key, item) else _plain(item) for key, item in fields_of.items()}
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, str | os.PathLike):
        return _text(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    return _scalar(value)


def _fields(value: Any) -> Mapping[Any, Any] | None:
    if isinstance(value, Mapping):
        return value
    if isinstance(value, Namespace | SimpleNamespace):
        return vars(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    if hasattr(value, "model_dump") and not isinstance(value, type):
        return dict(value.model_dump())
    return None


def _scalar(value: Any) -> Any:
    if hasattr(value, "get_secret_value"):
        return MASK
    try:
        item = value.item()
    except (AttributeError, TypeError, ValueError, RuntimeError):
        return _text(getattr(value, "__qualname__", value))
    return item if isinstance(item, int | float) else _text(item)


def _key(key: Any) -> Any:
    return int(key) if isinstance(key, int) else _text(key)


def _text(value: Any) -> str:
    return without_url_user(str.__str__(value) if isinstance(value, str) else str(value))
