"""LightningModule: hooks, hyperparameters, optimizers and the front end of logging."""

__version__ = "0.1.0"
