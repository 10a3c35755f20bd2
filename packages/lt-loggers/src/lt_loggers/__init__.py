"""Loggers with one step axis, to files and to servers; none makes training wait, and only TensorBoard's needs torch."""

from lt_loggers.comet_logger import CometLogger
from lt_loggers.csv_logger import CSVLogger
from lt_loggers.dummy import DummyLogger
from lt_loggers.hparams import load_hparams_from_yaml, save_hparams_to_yaml
from lt_loggers.html_logger import HTMLLogger
from lt_loggers.logger import DummyExperiment, Logger
from lt_loggers.mlflow_logger import MLFlowLogger
from lt_loggers.remote_logger import Record, RemoteLogger
from lt_loggers.report import write_report
from lt_loggers.tensorboard_logger import TensorBoardLogger
from lt_loggers.wandb_logger import WandbLogger

__version__ = "0.1.0"

__all__ = [
    "CSVLogger",
    "CometLogger",
    "DummyExperiment",
    "DummyLogger",
    "HTMLLogger",
    "Logger",
    "MLFlowLogger",
    "Record",
    "RemoteLogger",
    "TensorBoardLogger",
    "WandbLogger",
    "load_hparams_from_yaml",
    "save_hparams_to_yaml",
    "write_report",
]
