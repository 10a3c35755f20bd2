"""Where the time of a run goes, action by action; a run without a profiler pays nothing for them."""

from lt_loops.profilers.advanced import AdvancedProfiler
from lt_loops.profilers.profiler import PassThroughProfiler, Profiler
from lt_loops.profilers.pytorch import PyTorchProfiler
from lt_loops.profilers.simple import SimpleProfiler

__all__ = ["AdvancedProfiler", "PassThroughProfiler", "Profiler", "PyTorchProfiler", "SimpleProfiler"]
