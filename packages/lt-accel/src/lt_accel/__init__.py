"""Fabric: device, precision, strategy and launch for any PyTorch loop."""

__version__ = "0.1.0"
