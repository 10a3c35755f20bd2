"""Where checkpoints go: the default folder, names from templates such as `{epoch}-{val_loss:.2f}`."""

import os
import re
from collections.abc import Mapping
from typing import Any

import torch
from lt_interfaces import Trainer

GROUP = re.compile(r"\{([^{}:]*)(?::([^{}]*))?\}")


def absolute(folder: str | os.PathLike[str] | None) -> str | None:
    """The folder's full path, links followed; None and addresses stay what they are."""
    if folder is None or is_address(folder):
        return None if folder is None else os.fspath(folder).rstrip("/")
    return os.path.realpath(os.path.expanduser(os.fspath(folder).removeprefix("file://")))


def check(template: str) -> None:
    """Refuse a template that cannot be rendered or that leads out of its folder."""
    parts = template.replace("\\", "/").split("/")
    if os.path.isabs(template) or ".." in parts:
        raise ValueError(f"`filename` got {template!r}, which leads out of `dirpath`. Put the folder into `dirpath`.")
    for name, spec in GROUP.findall(template):
        if not name:
            raise ValueError(f"`filename` got {template!r} with an empty group. Name a metric, as in '{{val_loss}}'.")
        try:
            _formatted(0, spec)
        except ValueError as error:
            raise ValueError(
                f"`filename` got {template!r}, where {spec!r} is no format of a number. Use one like '.2f' or '03d'."
            ) from error


def names_metrics(template: str) -> bool:
    """True if the name depends on more than the epoch and the step."""
    return any(name not in ("epoch", "step") for name, _ in GROUP.findall(template))


def render(template: str, metrics: Mapping[str, Any], equals: str | None) -> str:
    """The template with its groups filled in, as `name<equals>value`, or as `value` if `equals` is None.

    A metric that is not there renders as 0. A slash in a metric's name becomes `_`: it makes no folder.
    """

    def fill(group: re.Match[str]) -> str:
        name, spec = group[1], group[2] or ""
        text = _formatted(metrics.get(name, 0), spec)
        return re.sub(r"[/\\\0]", "_", text if equals is None else f"{name}{equals}{text}")

    return GROUP.sub(fill, template)


def _formatted(value: Any, spec: str) -> str:
    number = value.item() if isinstance(value, torch.Tensor) else value
    if spec.endswith("d") and isinstance(number, float) and number.is_integer():
        number = int(number)
    try:
        return format(number, spec)
    except ValueError:
        return format(number, "") if isinstance(number, float) else format(float(number), spec)


def is_address(path: str | os.PathLike[str]) -> bool:
    """True for a place in a store on another machine, such as `s3://bucket/run`."""
    return "://" in os.fspath(path).removeprefix("file://")


def is_inside(path: str, folder: str) -> bool:
    """True if a path, its links followed, lies below the folder."""
    if is_address(folder):
        return path.startswith(f"{folder}/") and ".." not in path.split("/")
    inner, outer = os.path.realpath(path), os.path.realpath(folder)
    return inner != outer and os.path.commonpath([inner, outer]) == outer


def is_same(path: str, other: str | None) -> bool:
    """True if both lead to one place."""
    if other is not None and is_address(path):
        return path == other
    return other is not None and os.path.realpath(path) == os.path.realpath(other)


def default_folder(trainer: Trainer) -> str:
    """`checkpoints` in the first logger's folder for this run, else in the trainer's `default_root_dir`."""
    folder = trainer.default_root_dir
    if trainer.loggers:
        logger = trainer.loggers[0]
        version = logger.version if isinstance(logger.version, str) else f"version_{logger.version}"
        save_dir = getattr(logger, "save_dir", None) or folder
        folder = getattr(logger, "log_dir", None) or os.path.join(save_dir, str(logger.name), version)
    return absolute(os.path.join(folder, "checkpoints")) or ""
