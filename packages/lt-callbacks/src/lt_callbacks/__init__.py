"""Checkpointing policy, early stopping, progress displays, averages of weights, guards and monitors."""

from typing import TYPE_CHECKING

from lt_interfaces.lazy_names import lazy_names

if TYPE_CHECKING:
    from lt_interfaces import Callback as Callback

    from lt_callbacks.accumulation_scheduler import GradientAccumulationScheduler as GradientAccumulationScheduler
    from lt_callbacks.activation_monitor import ActivationMonitor as ActivationMonitor
    from lt_callbacks.backbone_finetuning import BackboneFinetuning as BackboneFinetuning
    from lt_callbacks.bar_choice import default_progress_bar as default_progress_bar
    from lt_callbacks.batch_size_finder import BatchSizeFinder as BatchSizeFinder
    from lt_callbacks.checkpoint import Checkpoint as Checkpoint
    from lt_callbacks.checkpoint import OnExceptionCheckpoint as OnExceptionCheckpoint
    from lt_callbacks.device_stats_monitor import DeviceStatsMonitor as DeviceStatsMonitor
    from lt_callbacks.early_stopping import EarlyStopping as EarlyStopping
    from lt_callbacks.early_stopping import EarlyStoppingReason as EarlyStoppingReason
    from lt_callbacks.early_stopping import stop_when_all as stop_when_all
    from lt_callbacks.finetuning import BaseFinetuning as BaseFinetuning
    from lt_callbacks.flops import get_available_flops as get_available_flops
    from lt_callbacks.flops import measure_flops as measure_flops
    from lt_callbacks.garbage_collection_scheduler import GarbageCollectionScheduler as GarbageCollectionScheduler
    from lt_callbacks.gradient_norm_monitor import GradientNormMonitor as GradientNormMonitor
    from lt_callbacks.lambda_callback import LambdaCallback as LambdaCallback
    from lt_callbacks.learning_rate_curve import LearningRateCurve as LearningRateCurve
    from lt_callbacks.learning_rate_finder import LearningRateFinder as LearningRateFinder
    from lt_callbacks.learning_rate_monitor import LearningRateMonitor as LearningRateMonitor
    from lt_callbacks.line_progress_bar import LineProgressBar as LineProgressBar
    from lt_callbacks.model_checkpoint import ModelCheckpoint as ModelCheckpoint
    from lt_callbacks.model_summary import ModelSummary as ModelSummary
    from lt_callbacks.model_summary import RichModelSummary as RichModelSummary
    from lt_callbacks.nan_guard import NaNGuard as NaNGuard
    from lt_callbacks.optuna_pruning import OptunaPruningCallback as OptunaPruningCallback
    from lt_callbacks.out_of_memory_observer import OutOfMemoryObserver as OutOfMemoryObserver
    from lt_callbacks.prediction_writer import BasePredictionWriter as BasePredictionWriter
    from lt_callbacks.progress_bar import ProgressBar as ProgressBar
    from lt_callbacks.pruning import ModelPruning as ModelPruning
    from lt_callbacks.rich_progress_bar import RichProgressBar as RichProgressBar
    from lt_callbacks.rich_progress_bar import RichProgressBarTheme as RichProgressBarTheme
    from lt_callbacks.spike_detection import SpikeDetection as SpikeDetection
    from lt_callbacks.spike_detection import TrainingSpikeException as TrainingSpikeException
    from lt_callbacks.stochastic_weight_averaging import StochasticWeightAveraging as StochasticWeightAveraging
    from lt_callbacks.summary import Summary as Summary
    from lt_callbacks.summary import summarize as summarize
    from lt_callbacks.throughput import Throughput as Throughput
    from lt_callbacks.throughput_monitor import ThroughputMonitor as ThroughputMonitor
    from lt_callbacks.timer import Timer as Timer
    from lt_callbacks.tqdm_progress_bar import TQDMProgressBar as TQDMProgressBar
    from lt_callbacks.weight_averaging import EMAWeightAveraging as EMAWeightAveraging
    from lt_callbacks.weight_averaging import WeightAveraging as WeightAveraging
else:
    __all__, __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "lt_interfaces": "Callback",
            ".accumulation_scheduler": "GradientAccumulationScheduler",
            ".activation_monitor": "ActivationMonitor",
            ".backbone_finetuning": "BackboneFinetuning",
            ".bar_choice": "default_progress_bar",
            ".batch_size_finder": "BatchSizeFinder",
            ".checkpoint": "Checkpoint OnExceptionCheckpoint",
            ".device_stats_monitor": "DeviceStatsMonitor",
            ".early_stopping": "EarlyStopping EarlyStoppingReason stop_when_all",
            ".finetuning": "BaseFinetuning",
            ".flops": "get_available_flops measure_flops",
            ".garbage_collection_scheduler": "GarbageCollectionScheduler",
            ".gradient_norm_monitor": "GradientNormMonitor",
            ".lambda_callback": "LambdaCallback",
            ".learning_rate_curve": "LearningRateCurve",
            ".learning_rate_finder": "LearningRateFinder",
            ".learning_rate_monitor": "LearningRateMonitor",
            ".line_progress_bar": "LineProgressBar",
            ".model_checkpoint": "ModelCheckpoint",
            ".model_summary": "ModelSummary RichModelSummary",
            ".nan_guard": "NaNGuard",
            ".optuna_pruning": "OptunaPruningCallback",
            ".out_of_memory_observer": "OutOfMemoryObserver",
            ".prediction_writer": "BasePredictionWriter",
            ".progress_bar": "ProgressBar",
            ".pruning": "ModelPruning",
            ".rich_progress_bar": "RichProgressBar RichProgressBarTheme",
            ".spike_detection": "SpikeDetection TrainingSpikeException",
            ".stochastic_weight_averaging": "StochasticWeightAveraging",
            ".summary": "Summary summarize",
            ".throughput": "Throughput",
            ".throughput_monitor": "ThroughputMonitor",
            ".timer": "Timer",
            ".tqdm_progress_bar": "TQDMProgressBar",
            ".weight_averaging": "EMAWeightAveraging WeightAveraging",
        },
    )

__version__ = "0.1.0"
