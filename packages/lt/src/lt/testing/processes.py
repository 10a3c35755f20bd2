"""The same training in several real processes and in one, compared step by step."""

import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lt_checkpoint

from lt.testing.equivalences import enough, unlike_start
from lt.testing.recording import Recording, Step, first_distance, unlike
from lt.testing.runs import Make, Run, a_folder, bare, joined, some_batches

SPEC, REFERENCE = "spec.json", "reference.ckpt"


def processes_equal_one(
    make_model: Make,
    make_data: Make,
    n: int = 2,
    *,
    steps: int = 3,
    tolerance: float = 1e-4,
    join: Callable[[list[Any]], Any] = joined,
    seed: int = 0,
    timeout: float = 120,
    **trainer_args: Any,
) -> None:
    """`n` processes with a batch each train as one process does with one batch of all their samples.

    The processes are real ones, started with `strategy="ddp"`. Loss and gradients are compared with those of the one
    process, the weights of the processes with each other bit for bit. Dropout layers are switched off.

    Args:
        make_model: Gives a new module; a function or class at the top of a file, since other processes import it.
        make_data: Gives a new loader to train on, or a data module, likewise; its first `n * steps` batches are used.
        n: How many processes.
        steps: How many steps are compared; after each, all go on from the same weights.
        tolerance: How far a gradient may be off, as a share of the largest one of its tensor.
        join: Makes one batch of a list of batches; by default tensors are concatenated.
        seed: For all processes.
        timeout: Seconds after which the processes are stopped.
        trainer_args: Flags of `lt.Trainer` that JSON can hold.

    Raises:
        AssertionError: Names the first step and tensor that differ, or shows how a process failed.
    """
    with a_folder() as folder:
        spec = {
            "make_model": _place(make_model),
            "make_data": _place(make_data),
            "n": n,
            "steps": steps,
            "seed": seed,
            "trainer_args": {"strategy": "ddp", **trainer_args, "max_epochs": 1},
            "path": sys.path,
        }
        (folder / SPEC).write_text(_json(spec))
        flags = {k: v for k, v in trainer_args.items() if k not in ("strategy", "sync_batchnorm")}
        one = Run(make_model, make_data, folder, seed, **{**flags, "max_epochs": 1})
        bare(one.model)
        batches = enough(some_batches(one.data, n * steps), n)
        expected = one.fit([join(batches[i : i + n]) for i in range(0, len(batches), n)])
        save(expected, folder / REFERENCE)
        _run_processes(folder, timeout)
        found = [load(folder / f"rank-{rank}.ckpt") for rank in range(n)]
        if difference := _difference(expected, found, tolerance):
            raise AssertionError(
                f"{n} processes differ from one {difference}. The loss must be a mean over the samples, batch norm "
                "needs `sync_batchnorm=True`, and a step may depend neither on the rank nor on random numbers."
            )


def _difference(expected: Recording, found: list[Recording], tolerance: float) -> str | None:
    for recording in found:
        if difference := unlike_start(expected, recording):
            return difference
    for number, steps in enumerate(zip(*(recording.steps for recording in found), strict=True), start=1):
        for rank, step in enumerate(steps[1:], start=1):
            if difference := unlike(steps[0].weights, step.weights):
                return f"at step {number}, as ranks 0 and {rank} differ in the weights of {difference}"
    together = [
        Step(losses=[loss for s in steps for loss in s.losses], gradients=steps[0].gradients)
        for steps in zip(*(recording.steps for recording in found), strict=True)
    ]
    return first_distance(expected.steps, together, tolerance)


def _place(function: Any) -> list[str]:
    """The file, module and name by which another process finds a function."""
    name = getattr(function, "__qualname__", "<")
    if "<" in name:
        raise ValueError(
            f"Another process cannot import {function!r}. Pass a function or class from the top of a file."
        )
    return [os.path.abspath(inspect.getfile(function)), function.__module__, name]


def _json(spec: dict[str, Any]) -> str:
    try:
        return json.dumps(spec)
    except TypeError as error:
        raise TypeError(
            f"Other processes get the trainer's flags as JSON, and {spec['trainer_args']!r} is none: {error}. "
            "Use numbers and strings, or let the module bring it in `configure_callbacks`."
        ) from error


def _run_processes(folder: Path, timeout: float) -> None:
    command = [sys.executable, "-m", "lt.testing.process", str(folder)]
    path = os.pathsep.join(entry for entry in sys.path if entry)
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(  # noqa: S603
            command, env=environment, capture_output=True, text=True, timeout=timeout, start_new_session=True
        )
    except subprocess.TimeoutExpired as error:
        raise AssertionError(f"The processes had not ended after {timeout} seconds. {_end(error.stderr)}") from None
    if done.returncode:
        raise AssertionError(f"A process failed with status {done.returncode}. {_end(done.stderr)}")


def _end(words: Any) -> str:
    text = words.decode(errors="replace") if isinstance(words, bytes) else words or ""
    return f"Its last words:\n{text[-3000:]}"


def save(recording: Recording, path: Path) -> None:
    """Write the steps, without their batches, for another process."""
    steps = [{"losses": s.losses, "gradients": s.gradients, "weights": s.weights} for s in recording.steps]
    lt_checkpoint.save({"start": recording.start, "steps": steps}, path)


def load(path: Path) -> Recording:
    """The steps that `save` wrote."""
    kept = lt_checkpoint.load(path)
    recording = Recording.__new__(Recording)
    recording.start, recording.steps = kept["start"], [Step(**step) for step in kept["steps"]]
    return recording
