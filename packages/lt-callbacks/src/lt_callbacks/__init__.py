"""Checkpointing policy, early stopping, progress displays and other callbacks."""

from lt_interfaces import Callback

from lt_callbacks.accumulation_scheduler import GradientAccumulationScheduler
from lt_callbacks.checkpoint import Checkpoint, OnExceptionCheckpoint
from lt_callbacks.default_progress_bar import default_progress_bar
from lt_callbacks.early_stopping import EarlyStopping, EarlyStoppingReason
from lt_callbacks.lambda_callback import LambdaCallback
from lt_callbacks.learning_rate_monitor import LearningRateMonitor
from lt_callbacks.line_progress_bar import LineProgressBar
from lt_callbacks.model_checkpoint import ModelCheckpoint
from lt_callbacks.model_summary import ModelSummary, RichModelSummary
from lt_callbacks.prediction_writer import BasePredictionWriter
from lt_callbacks.progress_bar import ProgressBar
from lt_callbacks.rich_progress_bar import RichProgressBar, RichProgressBarTheme
from lt_callbacks.summary import Summary, summarize
from lt_callbacks.timer import Timer
from lt_callbacks.tqdm_progress_bar import TQDMProgressBar

__version__ = "0.1.0"

__all__ = [
    "BasePredictionWriter",
    "Callback",
    "Checkpoint",
    "EarlyStopping",
    "EarlyStoppingReason",
    "GradientAccumulationScheduler",
    "LambdaCallback",
    "LearningRateMonitor",
    "LineProgressBar",
    "ModelCheckpoint",
    "ModelSummary",
    "OnExceptionCheckpoint",
    "ProgressBar",
    "RichModelSummary",
    "RichProgressBar",
    "RichProgressBarTheme",
    "Summary",
    "TQDMProgressBar",
    "Timer",
    "default_progress_bar",
    "summarize",
]
