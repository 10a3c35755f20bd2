"""One thread for this process and its children, torchvision's stand-in for both, and the list of long files."""

import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
STARTUP = str(HERE / "startup")

sys.path[:0] = [str(HERE), STARTUP]
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [STARTUP, os.environ.get("PYTHONPATH")]))

import line_budgets  # noqa: E402
import torchvision_without_cuda  # noqa: E402

torchvision_without_cuda.install()


def pytest_terminal_summary(terminalreporter):
    passed = terminalreporter.stats.get("passed", [])
    over = line_budgets.over_budget() if any("test_architecture" in report.nodeid for report in passed) else []
    if over:
        terminalreporter.write_sep("-", "longer than the guide says: a question, not a failure")
        terminalreporter.write_line("\n".join(over))
