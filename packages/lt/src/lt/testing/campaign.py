"""Runs that are killed at random instants and started again, until one ends; what came of them beside a run in peace.

One process imports everything and forks a child for each start: no start pays for the imports. Children leave lines
in `trace`, appended whole, so that a kill loses none and tears none.
"""

import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lt_checkpoint
import torch

Program = Callable[[Path], None]
"""Trains in a folder, from the beginning or from the checkpoint that it finds there."""


def note(folder: Path, kind: str, *values: Any) -> None:
    """Append one line to the trace of a run."""
    line = json.dumps([kind, time.monotonic(), *values]) + "\n"
    trace = os.open(folder / "trace", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(trace, line.encode())
    os.close(trace)


def noted(folder: Path, *kinds: str) -> list[list[Any]]:
    """The lines of these kinds; the last may be half there while the child is alive."""
    found = []
    with suppress(FileNotFoundError), open(folder / "trace") as trace:
        for line in trace:
            with suppress(json.JSONDecodeError):
                found.append(json.loads(line))
    return [line for line in found if line[0] in kinds]


def start(run: Program, folder: Path) -> int:
    """A child that runs in the folder, its words in a file there."""
    if not hasattr(os, "fork"):
        raise RuntimeError("Killed runs are forked processes, which this system does not have. Test them on Linux.")
    pid = os.fork()
    if pid:
        return pid
    words = os.open(folder / "words", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(words, 1)
    os.dup2(words, 2)
    sys.stdout = sys.stderr = open(words, "w", closefd=False)  # noqa: SIM115  # pytest's own may not be written to
    try:
        run(folder)
        sys.stderr.flush()
        os._exit(0)
    except SystemExit as ended:
        sys.stderr.flush()
        os._exit(int(ended.code or 0))
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(3)


def finish(run: Program, folder: Path) -> None:
    """Run in the folder to the end."""
    status = os.waitpid(start(run, folder), 0)[1]
    if status:
        raise RuntimeError(f"A run in {folder} ended with status {status}:\n{(folder / 'words').read_text()[-3000:]}")


def killed(run: Program, folder: Path, seconds: float, chance: random.Random, by: int) -> bool:
    """Start, and kill at a random instant: anywhere, or while a checkpoint is written. False if it ended before."""
    in_a_save = chance.random() < 0.5
    pid = start(run, folder)
    if in_a_save:
        before = len(noted(folder, "saving"))
        nth = before + chance.randint(1, 12)
        alive = _until(pid, lambda: len(noted(folder, "saving")) >= nth) and _sleep(pid, chance.uniform(0, 0.004))
    else:
        alive = _sleep(pid, chance.uniform(0, seconds))
    if alive:
        os.kill(pid, by)
        status = os.waitpid(pid, 0)[1]
        if by == signal.SIGTERM and status not in (0, 143 << 8, signal.SIGTERM):
            raise RuntimeError(f"After SIGTERM the status was {status}:\n{(folder / 'words').read_text()[-3000:]}")
    return alive


def _until(pid: int, done: Callable[[], bool]) -> bool:
    while not done():
        if os.waitpid(pid, os.WNOHANG)[0]:
            return False
        time.sleep(0.0003)
    return True


def _sleep(pid: int, seconds: float) -> bool:
    end = time.monotonic() + seconds
    return _until(pid, lambda: time.monotonic() >= end) and not os.waitpid(pid, os.WNOHANG)[0]


@dataclass
class Tally:
    """What became of the kills of one configuration."""

    kills: int = 0
    in_saves: int = 0
    resumed: int = 0
    equal: int = 0
    unreadable: int = 0
    lost: int = 0
    alike: Counter[str] = field(default_factory=Counter)
    """Kills after which this part of the outcome was equal."""
    differences: list[str] = field(default_factory=list)


@dataclass
class Trial:
    """A configuration: how it runs, and what a finished run left, to be compared."""

    name: str
    run: Program
    outcome: Callable[[Path], dict[str, Any]]
    verify: Callable[[Path], Any] = lt_checkpoint.verify


def campaign(
    trial: Trial, kills: int, root: Path, seed: int, most_in_a_row: int = 3, by: int = signal.SIGKILL
) -> Tally:
    """Kill runs of a trial, several times some of them, and compare what each left with a run in peace."""
    root.mkdir(parents=True)
    folder = fresh(root / "peace")
    begun = time.monotonic()
    finish(trial.run, folder)
    seconds = time.monotonic() - begun
    expected, chance, tally = trial.outcome(folder), random.Random(f"{seed} {trial.name}"), Tally()  # noqa: S311
    for number in numbers():
        if tally.kills >= kills:
            return tally
        folder = fresh(root / f"run-{number}")
        done = 0
        for _ in range(min(chance.randint(1, most_in_a_row), kills - tally.kills)):
            if not killed(trial.run, folder, seconds, chance, by):
                break
            done += 1
            inspect(folder, tally, trial.verify)
        if not done:
            continue
        tally.kills += done
        try:
            finish(trial.run, folder)
        except RuntimeError as error:
            tally.differences.append(str(error))
            continue
        tally.lost += lost_saves(folder)
        outcome = trial.outcome(folder)
        different = [key for key, value in expected.items() if outcome[key] != value]
        tally.resumed += done
        tally.alike.update({key: done for key in expected if key not in different})
        tally.equal += 0 if different else done
        if different:
            tally.differences.append(f"{folder}: {', '.join(different)}")
        else:
            shutil.rmtree(folder)
    raise AssertionError


def numbers() -> Iterator[int]:
    number = 0
    while True:
        yield number
        number += 1


def fresh(folder: Path) -> Path:
    folder.mkdir()
    return folder


def inspect(folder: Path, tally: Tally, verify: Callable[[Path], Any]) -> None:
    """After a kill: is every file that has a checkpoint's name a whole one?"""
    saves = noted(folder, "saving", "saved")
    tally.in_saves += bool(saves) and saves[-1][0] == "saving"
    for file in folder.rglob("*.ckpt"):
        try:
            verify(file)
        except Exception:
            tally.unreadable += 1


def lost_saves(folder: Path) -> int:
    """Starts that went on from an earlier step than the last save that had returned."""
    lost, saved = 0, 0
    for kind, _, step, *_ in noted(folder, "saved", "training from"):
        if kind == "saved":
            saved = max(saved, step)
        else:
            lost += step < saved
    return lost


def plain(value: Any) -> Any:
    """A value that compares bit for bit with `==`."""
    if isinstance(value, torch.Tensor):
        return (str(value.dtype), tuple(value.shape), value.detach().reshape(-1).view(torch.uint8).tolist())
    if isinstance(value, dict):
        return {str(key): plain(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return repr(value) if isinstance(value, float) else value
