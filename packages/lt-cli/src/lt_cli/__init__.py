"""Command line over any Trainer, module and data module."""

__version__ = "0.1.0"
