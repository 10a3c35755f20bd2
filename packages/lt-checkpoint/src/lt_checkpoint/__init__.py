"""The one door to disk: atomic, verified writes and safe reads of PyTorch checkpoints."""

from typing import TYPE_CHECKING

from lt_interfaces.lazy_names import lazy_names

if TYPE_CHECKING:
    from lt_interfaces import CheckpointError as CheckpointError
    from lt_interfaces import CorruptCheckpoint as CorruptCheckpoint
    from lt_interfaces import UnsafeCheckpoint as UnsafeCheckpoint

    from lt_checkpoint.background import AsyncCheckpointIO as AsyncCheckpointIO
    from lt_checkpoint.checkpoint_io import CheckpointIO as CheckpointIO
    from lt_checkpoint.claims import Claim as Claim
    from lt_checkpoint.claims import claim as claim
    from lt_checkpoint.files import exists as exists
    from lt_checkpoint.files import last_good as last_good
    from lt_checkpoint.files import link as link
    from lt_checkpoint.files import newest as newest
    from lt_checkpoint.files import remove as remove
    from lt_checkpoint.paths import inside as inside
    from lt_checkpoint.reading import load as load
    from lt_checkpoint.reading import load_unsafe as load_unsafe
    from lt_checkpoint.reading import stored_step as stored_step
    from lt_checkpoint.reading import verify as verify
    from lt_checkpoint.saving import save as save
    from lt_checkpoint.values import plain as plain
    from lt_checkpoint.weights import WeightsMismatch as WeightsMismatch
    from lt_checkpoint.weights import load_weights as load_weights
    from lt_checkpoint.writing import atomic_write as atomic_write
    from lt_checkpoint.writing import write_text as write_text
else:
    __all__, __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "lt_interfaces": "CheckpointError CorruptCheckpoint UnsafeCheckpoint",
            ".background": "AsyncCheckpointIO",
            ".checkpoint_io": "CheckpointIO",
            ".claims": "Claim claim",
            ".files": "exists last_good link newest remove",
            ".paths": "inside",
            ".reading": "load load_unsafe stored_step verify",
            ".saving": "save",
            ".values": "plain",
            ".weights": "WeightsMismatch load_weights",
            ".writing": "atomic_write write_text",
        },
    )

__version__ = "0.1.0"
