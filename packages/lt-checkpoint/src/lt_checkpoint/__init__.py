"""The one door to disk: atomic, verified writes and safe reads of PyTorch checkpoints."""

from lt_interfaces import CheckpointError, CorruptCheckpoint, UnsafeCheckpoint

from lt_checkpoint.files import exists, last_good, link, newest, remove
from lt_checkpoint.paths import inside
from lt_checkpoint.reading import load, load_unsafe, verify
from lt_checkpoint.saving import save
from lt_checkpoint.values import plain
from lt_checkpoint.writing import atomic_write, write_text

__version__ = "0.1.0"

__all__ = [
    "CheckpointError",
    "CorruptCheckpoint",
    "UnsafeCheckpoint",
    "atomic_write",
    "exists",
    "inside",
    "last_good",
    "link",
    "load",
    "load_unsafe",
    "newest",
    "plain",
    "remove",
    "save",
    "verify",
    "write_text",
]
