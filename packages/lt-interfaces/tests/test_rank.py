import logging
import subprocess
import sys

import pytest
from lt_interfaces import log, rank_zero_info, rank_zero_only, rank_zero_warn

VARIABLES = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_without_a_launcher_the_process_is_rank_zero():
    assert rank_zero_only(lambda value: value + 1)(1) == 2


@pytest.mark.parametrize("name", VARIABLES)
def test_other_ranks_do_not_call(monkeypatch, name):
    monkeypatch.setenv(name, "1")
    assert rank_zero_only(lambda: pytest.fail("called"))() is None


def test_the_global_rank_beats_the_local_one(monkeypatch):
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert rank_zero_only(lambda: pytest.fail("called"))() is None


def test_the_rank_is_read_when_called(monkeypatch):
    function = rank_zero_only(lambda: "said")
    monkeypatch.setenv("RANK", "0")
    assert function() == "said"


def test_a_wrapped_function_keeps_its_name_and_docstring():
    def announce():
        """Say it."""

    assert rank_zero_only(announce).__name__ == "announce"
    assert rank_zero_only(announce).__doc__ == "Say it."


def test_messages_go_to_the_logger_lt(caplog):
    with caplog.at_level(logging.INFO, logger="lt"):
        rank_zero_info("made a file")
    assert caplog.record_tuples == [("lt", logging.INFO, "made a file")]
    assert log is logging.getLogger("lt")


def test_a_warning_has_its_category():
    with pytest.warns(DeprecationWarning, match="use the other"):
        rank_zero_warn("use the other", DeprecationWarning)


def test_a_warning_points_at_the_caller_of_the_function_that_warns(tmp_path):
    library = tmp_path / "library.py"
    library.write_text("from lt_interfaces import rank_zero_warn\ndef fit():\n    rank_zero_warn('look here')\n")
    script = tmp_path / "script.py"
    script.write_text("import library\n\nlibrary.fit()\n")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    assert "script.py:3: UserWarning: look here" in done.stderr
