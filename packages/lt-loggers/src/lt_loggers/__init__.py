"""CSV and TensorBoard loggers with one step axis."""

__version__ = "0.1.0"
