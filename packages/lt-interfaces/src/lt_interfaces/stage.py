"""Where a run stands: the stage it is in and how far it has come."""

from dataclasses import dataclass
from enum import StrEnum


class Stage(StrEnum):
    """What the trainer is doing right now; compares equal to its string."""

    FIT = "fit"
    TRAIN = "train"
    SANITY_CHECK = "sanity_check"
    VALIDATE = "validate"
    TEST = "test"
    PREDICT = "predict"


@dataclass(kw_only=True, slots=True)
class Progress:
    """Counts of what is finished, all from 0; the one place where they are kept.

    `epoch` counts finished training epochs, `step` optimizer steps, `batch` the batches taken from the current
    epoch, `window` those of them since the last optimizer step (an open accumulation window).
    """

    epoch: int = 0
    step: int = 0
    batch: int = 0
    window: int = 0
