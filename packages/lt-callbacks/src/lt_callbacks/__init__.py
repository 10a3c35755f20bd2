"""Checkpointing policy, early stopping, progress displays, averages of weights, guards and monitors."""

from lt_interfaces import Callback

from lt_callbacks.accumulation_scheduler import GradientAccumulationScheduler
from lt_callbacks.activation_monitor import ActivationMonitor
from lt_callbacks.backbone_finetuning import BackboneFinetuning
from lt_callbacks.batch_size_finder import BatchSizeFinder
from lt_callbacks.checkpoint import Checkpoint, OnExceptionCheckpoint
from lt_callbacks.default_progress_bar import default_progress_bar
from lt_callbacks.device_stats_monitor import DeviceStatsMonitor
from lt_callbacks.early_stopping import EarlyStopping, EarlyStoppingReason, stop_when_all
from lt_callbacks.finetuning import BaseFinetuning
from lt_callbacks.flops import get_available_flops, measure_flops
from lt_callbacks.garbage_collection_scheduler import GarbageCollectionScheduler
from lt_callbacks.gradient_norm_monitor import GradientNormMonitor
from lt_callbacks.lambda_callback import LambdaCallback
from lt_callbacks.learning_rate_curve import LearningRateCurve
from lt_callbacks.learning_rate_finder import LearningRateFinder
from lt_callbacks.learning_rate_monitor import LearningRateMonitor
from lt_callbacks.line_progress_bar import LineProgressBar
from lt_callbacks.model_checkpoint import ModelCheckpoint
from lt_callbacks.model_summary import ModelSummary, RichModelSummary
from lt_callbacks.nan_guard import NaNGuard
from lt_callbacks.optuna_pruning import OptunaPruningCallback
from lt_callbacks.out_of_memory_observer import OutOfMemoryObserver
from lt_callbacks.prediction_writer import BasePredictionWriter
from lt_callbacks.progress_bar import ProgressBar
from lt_callbacks.pruning import ModelPruning
from lt_callbacks.rich_progress_bar import RichProgressBar, RichProgressBarTheme
from lt_callbacks.spike_detection import SpikeDetection, TrainingSpikeException
from lt_callbacks.stochastic_weight_averaging import StochasticWeightAveraging
from lt_callbacks.summary import Summary, summarize
from lt_callbacks.throughput import Throughput
from lt_callbacks.throughput_monitor import ThroughputMonitor
from lt_callbacks.timer import Timer
from lt_callbacks.tqdm_progress_bar import TQDMProgressBar
from lt_callbacks.weight_averaging import EMAWeightAveraging, WeightAveraging

__version__ = "0.1.0"

__all__ = [
    "ActivationMonitor",
    "BackboneFinetuning",
    "BaseFinetuning",
    "BasePredictionWriter",
    "BatchSizeFinder",
    "Callback",
    "Checkpoint",
    "DeviceStatsMonitor",
    "EMAWeightAveraging",
    "EarlyStopping",
    "EarlyStoppingReason",
    "GarbageCollectionScheduler",
    "GradientAccumulationScheduler",
    "GradientNormMonitor",
    "LambdaCallback",
    "LearningRateCurve",
    "LearningRateFinder",
    "LearningRateMonitor",
    "LineProgressBar",
    "ModelCheckpoint",
    "ModelPruning",
    "ModelSummary",
    "NaNGuard",
    "OnExceptionCheckpoint",
    "OptunaPruningCallback",
    "OutOfMemoryObserver",
    "ProgressBar",
    "RichModelSummary",
    "RichProgressBar",
    "RichProgressBarTheme",
    "SpikeDetection",
    "StochasticWeightAveraging",
    "Summary",
    "TQDMProgressBar",
    "Throughput",
    "ThroughputMonitor",
    "Timer",
    "TrainingSpikeException",
    "WeightAveraging",
    "default_progress_bar",
    "get_available_flops",
    "measure_flops",
    "stop_when_all",
    "summarize",
]
