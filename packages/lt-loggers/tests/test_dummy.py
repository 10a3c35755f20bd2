import copy

import lt_interfaces
from lt_loggers import DummyExperiment, DummyLogger


def test_it_swallows_everything_and_has_no_folder():
    logger: lt_interfaces.Logger = DummyLogger()
    logger.log_metrics({"loss": object()}, 1)
    logger.log_hyperparams({"a": 1}, metrics={"b": 2})
    logger.log_image("x", images=[1])
    logger.experiment.config.update({"a": 1})
    logger.finalize("success")
    assert isinstance(logger, lt_interfaces.Logger)
    assert (logger.name, logger.version, logger.log_dir, logger.save_dir) == (None, None, None, None)


def test_the_dummy_experiment_can_be_called_indexed_iterated_and_copied():
    experiment = DummyExperiment()
    experiment["a"] = experiment.b.c(1)["d"]
    assert list(experiment) == []
    assert isinstance(copy.deepcopy(experiment), DummyExperiment)
    assert isinstance(copy.deepcopy(DummyLogger()), DummyLogger)
