"""What a metric's name tells: its stage, the chart it belongs to, and whether less of it is better."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import NamedTuple

STAGES = {
    "train": "train", "training": "train", "val": "validation", "valid": "validation", "validation": "validation",
    "validate": "validation", "eval": "validation", "test": "test",
}  # fmt: skip
LESS_IS_BETTER = re.compile(
    r"loss|err(or)?|r?mse|mae|mape|nll|ppl|perplexity|[wc]er|fid|b?ce|kl|crossentropy|misclassified"
)
MORE_IS_BETTER = re.compile(
    r"acc(uracy)?|auc|auroc|auprc|ap|f1|fbeta|precision|recall|m?iou|jaccard|dice|map|mrr|ndcg|bleu|rouge[l\d]*|psnr|"
    r"ssim|r2|score|reward|return|top\d+|kappa|mcc|win"
)
_RATE = re.compile(r"(?:lr|learning_rate)(?:[-_/](.+?))??(-momentum|-weight_decay)?", re.IGNORECASE)
_SPEED = re.compile(r"throughput|per_sec|/s$|_s$|seconds|(?<![a-z])(time|mfu)(?![a-z])|flops", re.IGNORECASE)
_COUNT = re.compile(r"(train|validate|test|predict)[-/_.](batches|samples|lengths|time)")
_DEVICE = re.compile(r"devicestats|memory|(?<![a-z])(gpu|cpu|cuda|ram)(?![a-z])", re.IGNORECASE)


class Section(StrEnum):
    """The parts of a report that hold charts, in their order."""

    METRICS = "Metrics"
    RATES = "Learning rate"
    SPEED = "Speed"
    DEVICE = "Device and counts"


class Place(NamedTuple):
    """Where a metric is drawn."""

    section: Section
    chart: str
    label: str
    stage: str | None


def place(name: str) -> Place:
    """`val_loss`, `loss/train` and `train_loss_epoch` share the chart `loss`; learning rates share one as well."""
    rate = _RATE.fullmatch(name)
    if rate:
        return Place(Section.RATES, (rate[2] or "-learning rate")[1:].replace("_", " "), rate[1] or "lr", None)
    stem, _, loader = name.partition("/dataloader_idx_")
    ending = re.search(r"_(step|epoch)$", stem)
    parts = re.split(r"([\W_]+)", stem[: ending.start()] if ending else stem)
    stage = None
    for at, rest in ((0, parts[2:]), (-1, parts[:-2])):
        if any(rest) and stage is None and parts[at].lower() in STAGES:
            stage, parts = STAGES[parts[at].lower()], rest
    chart = "".join(parts) or name
    label = " ".join(filter(None, (stage or chart, loader, f"({ending[1]})" if ending else "")))
    return Place(_section(name, stage), chart, label, stage)


def is_less_better(name: str) -> bool | None:
    """True for a loss, False for an accuracy, None where the name does not tell."""
    words = re.split(r"[\W_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())
    if any(LESS_IS_BETTER.fullmatch(word) for word in words):
        return True
    return False if any(MORE_IS_BETTER.fullmatch(word) for word in words) else None


def _section(name: str, stage: str | None) -> Section:
    if _DEVICE.search(name) or _COUNT.fullmatch(name):
        return Section.DEVICE
    return Section.SPEED if _SPEED.search(name) and is_less_better(name) is None else Section.METRICS
