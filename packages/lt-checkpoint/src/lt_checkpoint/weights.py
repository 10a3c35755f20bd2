"""Weights into a module: all of them, those that fit, or a declared part; what does not fit is named."""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

import torch
from lt_interfaces import CheckpointError, MisconfigurationException, nearest

Strictness = bool | str | Iterable[str]

_SHOWN = 5


class WeightsMismatch(CheckpointError, MisconfigurationException):
    """Weights that are not those of the module; a RuntimeError as torch's own, and a ValueError."""


def load_weights(
    module: Any, weights: Mapping[str, Any], strict: Strictness = True, source: str = "the checkpoint"
) -> str:
    """Load a state dict into a module; what does not fit is named, with the nearest name.

    Args:
        module: Anything with `state_dict` and `load_state_dict(weights, strict=...)`.
        weights: By name, as from `state_dict`.
        strict: True: just the module's names. False: whatever fits. Patterns such as `"*.lora_*"`: a file of a part,
            which must hold all of the module's names that match one of them and no name that the module has not.
        source: What to call the weights in messages.

    Returns:
        A sentence about what was left out, for people; empty if nothing was.

    Raises:
        WeightsMismatch: Some of the weights may have been loaded by then.
    """
    owner = type(module).__name__
    if not isinstance(strict, bool):
        _check_part(module, weights, [strict] if isinstance(strict, str) else list(strict), source)
    try:
        left = module.load_state_dict(weights, strict=strict is True)
    except RuntimeError as error:
        own = module.state_dict()
        missing, unexpected = _apart(own, weights)
        unlike = [k for k, value in weights.items() if k in own and _shape(value) != _shape(own[k])]
        if strict is not True:
            missing = unexpected = []
        if not (missing or unexpected or unlike):
            raise
        said = _differences(missing, unexpected, unlike, weights, own)
        raise WeightsMismatch(f"The weights in {source} do not fit `{owner}`: {said}. {_remedy(unlike)}") from error
    if strict is not False or not (getattr(left, "missing_keys", None) or getattr(left, "unexpected_keys", None)):
        return ""
    said = _differences(left.missing_keys, left.unexpected_keys, [], weights, {})
    return f"Of the weights in {source}, those that fit `{owner}` were loaded: {said}."


def _check_part(module: Any, weights: Mapping[str, Any], patterns: list[str], source: str) -> None:
    own, owner = module.state_dict(), type(module).__name__
    idle = [pattern for pattern in patterns if not any(fnmatchcase(name, pattern) for name in own)]
    if idle:
        raise WeightsMismatch(
            f"`strict` has the pattern {idle[0]!r}, which no weight of `{owner}` matches. "
            f"The first of them is `{next(iter(own), '')}`."
        )
    missing, unexpected = _apart(own, weights)
    missing = [name for name in missing if any(fnmatchcase(name, pattern) for pattern in patterns)]
    if missing or unexpected:
        said = _differences(missing, unexpected, [], weights, own)
        raise WeightsMismatch(f"The part of `{owner}` in {source} is not whole: {said}. {_remedy([])}")


def _apart(own: Mapping[str, Any], weights: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    return [k for k in own if k not in weights], [k for k in weights if k not in own]


def _shape(value: Any) -> Any:
    """None where there is none: extra state, layers that get theirs later."""
    if not isinstance(value, torch.Tensor) or torch.nn.parameter.is_lazy(value):
        return None
    return tuple(value.shape)


def _differences(
    missing: list[str], unexpected: list[str], unlike: list[str], weights: Mapping[str, Any], own: Mapping[str, Any]
) -> str:
    lines = [f"`{k}` is not in the file{_near(k, unexpected)}" for k in missing[:_SHOWN]]
    lines += [f"`{k}` is not in the module{_near(k, missing)}" for k in unexpected[:_SHOWN]]
    lines += [
        f"`{k}` has the shape {_shape(weights[k])} in the file and {_shape(own[k])} in the module"
        for k in unlike[:_SHOWN]
    ]
    rest = len(missing) + len(unexpected) + len(unlike) - len(lines)
    return "; ".join(lines) + (f"; and {rest} more" if rest else "")


def _near(key: str, others: list[str]) -> str:
    match = nearest(key, others)
    return f" (nearest: `{match}`)" if match else ""


def _remedy(unlike: list[str]) -> str:
    if unlike:
        return "Build the module with the arguments it was trained with."
    return (
        "Rename the layers, or load those that fit: `load_from_checkpoint(path, strict=False)`, "
        "`self.strict_loading = False` for `fit`."
    )
