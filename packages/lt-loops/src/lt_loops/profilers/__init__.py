"""Where the time of a run goes, action by action; a run without a profiler pays nothing for them."""

from typing import TYPE_CHECKING

from lt_interfaces.lazy_names import lazy_names

if TYPE_CHECKING:
    from lt_loops.profilers.advanced import AdvancedProfiler as AdvancedProfiler
    from lt_loops.profilers.profiler import PassThroughProfiler as PassThroughProfiler
    from lt_loops.profilers.profiler import Profiler as Profiler
    from lt_loops.profilers.pytorch import PyTorchProfiler as PyTorchProfiler
    from lt_loops.profilers.simple import SimpleProfiler as SimpleProfiler
else:
    __all__, __getattr__, __dir__ = lazy_names(
        __name__,
        {
            ".advanced": "AdvancedProfiler",
            ".profiler": "PassThroughProfiler Profiler",
            ".pytorch": "PyTorchProfiler",
            ".simple": "SimpleProfiler",
        },
    )
