"""Tests to run on a module of yours: properties of its training, and faults to put it through."""

from lt.testing.equivalences import (
    accumulation_equals_one_batch,
    fit_equals_hand_written_loop,
    overfits_one_batch,
    resume_equals_no_stop,
)
from lt.testing.faults import KilledAt, PoisonedBatch, RaisesIn, failing_files, full_disk
from lt.testing.kills import kills_equal_no_kill
from lt.testing.processes import processes_equal_one

__all__ = [
    "KilledAt",
    "PoisonedBatch",
    "RaisesIn",
    "accumulation_equals_one_batch",
    "failing_files",
    "fit_equals_hand_written_loop",
    "full_disk",
    "kills_equal_no_kill",
    "overfits_one_batch",
    "processes_equal_one",
    "resume_equals_no_stop",
]
