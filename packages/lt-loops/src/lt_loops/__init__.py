"""fit, validate, test and predict for any module with a training_step."""

__version__ = "0.1.0"
