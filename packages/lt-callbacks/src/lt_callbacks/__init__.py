"""Checkpointing policy, early stopping, progress bars and other callbacks."""

__version__ = "0.1.0"
