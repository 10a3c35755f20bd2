"""Reports of runs as single HTML files that need no server and fetch nothing."""

from typing import TYPE_CHECKING

from lt_interfaces.lazy_names import lazy_names

if TYPE_CHECKING:
    from lt_loggers.report.writing import compare as compare
    from lt_loggers.report.writing import write_report as write_report
else:
    __all__, __getattr__, __dir__ = lazy_names(__name__, {".writing": "compare write_report"})
