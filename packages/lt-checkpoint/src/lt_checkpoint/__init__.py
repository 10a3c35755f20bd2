"""Atomic, verified writes and safe reads of PyTorch checkpoints."""

__version__ = "0.1.0"
