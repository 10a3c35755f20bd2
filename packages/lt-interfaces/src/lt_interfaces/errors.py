"""The errors that more than one package raises; each is a builtin type underneath."""


class MisconfigurationException(ValueError):
    """Arguments, hooks or data that cannot work together; the name is Lightning's."""


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be used; the message names the file."""


class CorruptCheckpoint(CheckpointError):
    """A file that is truncated, altered or no checkpoint at all."""


class UnsafeCheckpoint(CheckpointError):
    """A file that asks for more than plain values and tensors."""
