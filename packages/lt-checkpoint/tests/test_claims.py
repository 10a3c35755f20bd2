"""One writer in a folder: who comes second is told by whom it is held, and a dead holder holds nothing."""

import json
import os
import subprocess
import sys

import pytest
from lt_checkpoint import claim

HOLD = """
import os, sys
from lt_checkpoint import claim
try:
    held = claim(sys.argv[1])
except RuntimeError as error:
    print("refused", error, flush=True)
    sys.exit(3)
print("held", flush=True)
sys.stdin.readline()
"""


def start(folder, code=HOLD):
    return subprocess.Popen([sys.executable, "-c", code, str(folder)], stdin=-1, stdout=-1, text=True)


def test_a_second_process_is_refused_and_told_who_has_the_folder(tmp_path):
    first = start(tmp_path)
    assert first.stdout.readline() == "held\n"
    second = start(tmp_path)
    out = second.communicate(timeout=60)[0]
    assert second.returncode == 3
    assert f"`{tmp_path}` is being written to by process {first.pid} on '{os.uname().nodename}' since '" in out
    first.communicate("\n", timeout=60)


def test_a_killed_holder_holds_nothing(tmp_path):
    first = start(tmp_path)
    first.stdout.readline()
    first.kill()
    first.communicate(timeout=60)
    assert os.listdir(tmp_path) == [".lt-claim"]
    with claim(tmp_path):
        assert json.loads((tmp_path / ".lt-claim").read_text())["pid"] == os.getpid()
    assert os.listdir(tmp_path) == []


def test_children_of_a_killed_holder_do_not_hold_its_folder(tmp_path):
    child = "if os.fork() == 0:\n    os.read(0, 1)\n    os._exit(0)\n"
    fork = HOLD.replace('print("held"', f'{child}print("held"')
    first = start(tmp_path, fork)
    first.stdout.readline()
    first.kill()
    first.wait(60)
    claim(tmp_path).release()
    first.stdin.close()
    first.stdout.close()
    assert os.listdir(tmp_path) == []


def test_a_released_folder_can_be_claimed_again_and_one_made_for_the_claim_goes(tmp_path):
    folder = tmp_path / "a" / "b"
    for _ in range(2):
        with claim(folder) as held:
            assert held.folder == folder
            with pytest.raises(RuntimeError, match=f"written to by process {os.getpid()} on"):
                claim(folder)
    assert os.listdir(tmp_path) == []
    with claim(folder):
        (folder / "x").touch()
    assert os.listdir(folder) == ["x"]


@pytest.mark.parametrize("text", ["", "{}", "[" * 900, '{"pid": "x"}', '{"pid": 1, "host": "\\u001b[2J", "since": 0}'])
def test_what_the_lock_file_says_is_never_trusted(tmp_path, text):
    (tmp_path / ".lt-claim").write_text(text)
    with claim(tmp_path):
        (tmp_path / ".lt-claim").write_text(text)
        with pytest.raises(RuntimeError, match="is being written to by") as caught:
            claim(tmp_path)
    assert "\x1b" not in str(caught.value)


def test_a_link_in_the_place_of_the_lock_file_is_not_followed(tmp_path):
    (tmp_path / "precious").write_text("old")
    (tmp_path / ".lt-claim").symlink_to("precious")
    with pytest.raises(OSError, match="symbolic links"):
        claim(tmp_path)
    assert (tmp_path / "precious").read_text() == "old"


RACE = """
import os, sys
from lt_checkpoint import claim
folder = sys.argv[1]
for race in range(21):
    runs = 2 + race % 3
    go, results, end = os.pipe(), os.pipe(), os.pipe()
    for run in range(runs):
        if os.fork() == 0:
            os.close(go[1]), os.close(end[1])
            os.read(go[0], 1)  # returns in all of them when the parent closes its end
            try:
                held = claim(f"{folder}/{race}")
                os.write(results[1], b"+")
            except RuntimeError:
                os.write(results[1], b"-")
            os.read(end[0], 1)
            os._exit(0)
    os.close(go[1])
    seen = b"".join(os.read(results[0], 1) for _ in range(runs))
    assert seen.count(b"+") == 1, (race, seen)
    os.close(end[1])
    for run in range(runs):
        os.wait()
print("done", race)
"""


def test_of_two_to_four_runs_that_start_at_once_exactly_one_goes_on_in_each_of_21_races(tmp_path):
    assert start(tmp_path, RACE).communicate(timeout=120)[0] == "done 20\n"
