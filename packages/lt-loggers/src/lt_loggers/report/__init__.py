"""Reports of runs as single HTML files that need no server and fetch nothing."""

from lt_loggers.report.writing import compare, write_report

__all__ = ["compare", "write_report"]
