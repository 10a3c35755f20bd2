"""The one door to disk: atomic, verified writes and safe reads of PyTorch checkpoints."""

from lt_interfaces import CheckpointError, CorruptCheckpoint, UnsafeCheckpoint

from lt_checkpoint.background import AsyncCheckpointIO
from lt_checkpoint.checkpoint_io import CheckpointIO
from lt_checkpoint.claims import Claim, claim
from lt_checkpoint.files import exists, last_good, link, newest, remove
from lt_checkpoint.paths import inside
from lt_checkpoint.reading import load, load_unsafe, stored_step, verify
from lt_checkpoint.saving import save
from lt_checkpoint.values import plain
from lt_checkpoint.weights import WeightsMismatch, load_weights
from lt_checkpoint.writing import atomic_write, write_text

__version__ = "0.1.0"

__all__ = [
    "AsyncCheckpointIO",
    "CheckpointError",
    "CheckpointIO",
    "Claim",
    "CorruptCheckpoint",
    "UnsafeCheckpoint",
    "WeightsMismatch",
    "atomic_write",
    "claim",
    "exists",
    "inside",
    "last_good",
    "link",
    "load",
    "load_unsafe",
    "load_weights",
    "newest",
    "plain",
    "remove",
    "save",
    "stored_step",
    "verify",
    "write_text",
]
