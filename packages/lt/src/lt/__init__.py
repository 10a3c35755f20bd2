"""Train PyTorch models without writing the loop: the full stack."""

__version__ = "0.1.0"
