"""CSV, HTML and TensorBoard loggers with one step axis; only the last one needs torch."""

from lt_loggers.csv_logger import CSVLogger
from lt_loggers.dummy import DummyLogger
from lt_loggers.hparams import load_hparams_from_yaml, save_hparams_to_yaml
from lt_loggers.html_logger import HTMLLogger
from lt_loggers.logger import DummyExperiment, Logger
from lt_loggers.report import write_report
from lt_loggers.tensorboard_logger import TensorBoardLogger

__version__ = "0.1.0"

__all__ = [
    "CSVLogger",
    "DummyExperiment",
    "DummyLogger",
    "HTMLLogger",
    "Logger",
    "TensorBoardLogger",
    "load_hparams_from_yaml",
    "save_hparams_to_yaml",
    "write_report",
]
