"""The order of hooks on the page is the one in the loops' docstrings, which the loops' own tests compare with runs."""

import inspect
import re
from pathlib import Path

import pytest
from lt_loops.evaluation import EvaluationLoop
from lt_loops.prediction import PredictionLoop
from lt_loops.training import FitLoop

PAGE = Path(__file__).parent.parent / "docs/pages/hooks.md"


@pytest.mark.parametrize(
    ("heading", "loop"),
    [("fit", FitLoop), ("validate and test", EvaluationLoop), ("predict", PredictionLoop)],
)
def test_the_page_shows_the_pseudo_code_of_the_docstring(heading: str, loop: type):
    on_page = re.search(rf"^### {heading}\n.*?^```text\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert on_page, f"docs/pages/hooks.md has no block of text under {heading!r}"
    in_code = inspect.cleandoc(inspect.getdoc(loop).split("::\n", 1)[1])
    assert on_page[1].strip() == in_code.strip()
