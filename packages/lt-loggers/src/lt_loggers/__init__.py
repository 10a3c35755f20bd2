"""Loggers with one step axis, to files and to servers; none makes training wait, and only TensorBoard's needs torch."""

from typing import TYPE_CHECKING

from lt_interfaces.lazy_names import lazy_names

if TYPE_CHECKING:
    from lt_loggers.comet_logger import CometLogger as CometLogger
    from lt_loggers.csv_logger import CSVLogger as CSVLogger
    from lt_loggers.dummy import DummyLogger as DummyLogger
    from lt_loggers.hparams import load_hparams_from_yaml as load_hparams_from_yaml
    from lt_loggers.hparams import save_hparams_to_yaml as save_hparams_to_yaml
    from lt_loggers.html_logger import HTMLLogger as HTMLLogger
    from lt_loggers.logger import DummyExperiment as DummyExperiment
    from lt_loggers.logger import Logger as Logger
    from lt_loggers.mlflow_logger import MLFlowLogger as MLFlowLogger
    from lt_loggers.remote_logger import Record as Record
    from lt_loggers.remote_logger import RemoteLogger as RemoteLogger
    from lt_loggers.report import write_report as write_report
    from lt_loggers.tensorboard_logger import TensorBoardLogger as TensorBoardLogger
    from lt_loggers.wandb_logger import WandbLogger as WandbLogger
else:
    __all__, __getattr__, __dir__ = lazy_names(
        __name__,
        {
            ".comet_logger": "CometLogger",
            ".csv_logger": "CSVLogger",
            ".dummy": "DummyLogger",
            ".hparams": "load_hparams_from_yaml save_hparams_to_yaml",
            ".html_logger": "HTMLLogger",
            ".logger": "DummyExperiment Logger",
            ".mlflow_logger": "MLFlowLogger",
            ".remote_logger": "Record RemoteLogger",
            ".report": "write_report",
            ".tensorboard_logger": "TensorBoardLogger",
            ".wandb_logger": "WandbLogger",
        },
    )

__version__ = "0.1.0"
