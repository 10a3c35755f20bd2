"""Ranks that end before their time under each launcher, and torchrun that starts them again."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mortal_ranks import LAUNCHERS, MARK, die, left

RESTARTED = Path(__file__).with_name("restarted_training.py")

ENDS = {"raise": "ValueError: the cause", "exit": "exit code 3", "kill": "signal 9"}
TORCHRUN_ENDS = {"raise": "ValueError: the cause", "exit": "exitcode  : 3", "kill": "exitcode  : -9"}


@pytest.mark.slow
@pytest.mark.parametrize("launcher", LAUNCHERS)
@pytest.mark.parametrize(
    ("kind", "place"), [("raise", "step"), ("exit", "validation"), ("kill", "save"), ("raise", "barrier")]
)
def test_the_group_ends_with_the_rank_that_dies_and_tells_of_it_last(tmp_path, launcher, kind, place):
    death = die(tmp_path, launcher, kind, place)
    assert death.status == 1, death.words
    assert death.orphans == []
    end = death.words.rstrip().splitlines()[-1 if launcher != "torchrun" else -40 :]
    assert (TORCHRUN_ENDS if launcher == "torchrun" else ENDS)[kind] in "\n".join(end), death.words
    assert ("rank      : 1" if launcher == "torchrun" else "ank 1 ") in death.words


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "kind", "status"), [("script", "kill", -9), ("script", "raise", 1), ("spawn", "kill", 1)]
)
def test_no_rank_outlives_the_first(tmp_path, launcher, kind, status):
    death = die(tmp_path, launcher, kind, "step", rank=0)
    assert (death.status, death.orphans) == (status, []), death.words
    if kind == "raise":
        assert death.words.rstrip().endswith("ValueError: the cause")


def torchrun(folder, *args, restarts=0):
    """A training on two ranks in a new folder."""
    folder.mkdir()
    command = ["--standalone", "--nproc-per-node=2", f"--max-restarts={restarts}", "--monitor-interval=0.2"]
    with open(folder / "words", "w") as words:
        return subprocess.Popen(
            [sys.executable, "-m", "torch.distributed.run", *command, str(RESTARTED), *map(str, args)],
            cwd=folder, stdout=words, stderr=words, env={**os.environ, MARK: str(folder)},
        )  # fmt: skip


def results(folder, process):
    """Of each rank its weights, its last step, and where its last start went on from."""
    assert process.wait(timeout=200) == 0, (folder / "words").read_text()
    return [(folder / f"weights-{rank}").read_text().split() for rank in (0, 1)]


@pytest.mark.slow
def test_a_group_that_torchrun_starts_again_ends_with_the_weights_of_a_run_in_peace(tmp_path):
    peace = results(tmp_path / "peace", torchrun(tmp_path / "peace", 1, 0, "live"))
    war = results(tmp_path / "war", torchrun(tmp_path / "war", 1, 13, "kill", restarts=2))
    assert [began for *_, began in peace + war] == ["0", "0", "12", "12"]
    assert len({weights for weights, *_ in peace + war}) == 1


@pytest.mark.slow
def test_no_rank_outlives_the_torchrun_that_started_it(tmp_path):
    folder = tmp_path / "run"
    process = torchrun(folder, 1, 5, "wait")
    deadline = time.monotonic() + 120
    while not (folder / "waiting-1").exists():
        assert process.poll() is None, (folder / "words").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.wait()
    while left(str(folder)):
        assert time.monotonic() < deadline, left(str(folder))
        time.sleep(0.05)
