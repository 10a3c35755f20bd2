import pytest
from lt_loggers import DummyExperiment, Logger


class Prints(Logger):
    def __init__(self):
        self.lines = []

    def log_metrics(self, metrics, step=None):
        self.lines.append((step, dict(metrics)))

    def log_hyperparams(self, params):
        self.lines.append(params)


def test_a_logger_of_ones_own_needs_two_methods():
    logger = Prints()
    logger.log_metrics({"a": 1}, 2)
    logger.log_graph(object())
    logger.after_save_checkpoint(object())
    logger.finalize("success")
    assert logger.lines == [(2, {"a": 1})]
    assert (logger.name, logger.version, logger.root_dir) == (None, None, None)
    assert isinstance(logger.experiment, DummyExperiment)


def test_a_logger_that_cannot_write_cannot_be_made():
    with pytest.raises(TypeError, match="log_hyperparams"):
        type("Half", (Logger,), {"log_metrics": lambda *a: None})()
