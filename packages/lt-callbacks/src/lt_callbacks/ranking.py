"""The order of scored files: NaN is worst, and of two equal scores the older file is the better one."""

import math
from collections.abc import Mapping

from torch import Tensor


def worst_score(mode: str) -> float:
    """The score that every other beats."""
    return math.inf if mode == "min" else -math.inf


def comparable(score: Tensor, mode: str) -> Tensor:
    """The score itself, or the worst one in place of NaN."""
    return score.new_tensor(worst_score(mode)) if math.isnan(score.item()) else score


def beats(score: Tensor, other: Tensor, mode: str) -> bool:
    """True if strictly better."""
    return bool(score < other if mode == "min" else score > other)


def best(models: Mapping[str, Tensor], mode: str) -> str:
    """The path of the best score, the oldest of equals; paths are kept in the order they were written."""
    choose = min if mode == "min" else max
    return choose(models, key=lambda path: models[path].item())


def worst(models: Mapping[str, Tensor], mode: str) -> str:
    """The path of the worst score, the newest of equals."""
    choose = max if mode == "min" else min
    return choose(reversed(list(models)), key=lambda path: models[path].item())
