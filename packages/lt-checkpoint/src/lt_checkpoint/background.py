"""Saving while training goes on: a step waits for a copy in memory, one thread does the rest in order."""

import atexit
import os
import sys
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from threading import Condition, Thread
from typing import TYPE_CHECKING, Any

from lt_checkpoint.checkpoint_io import CheckpointIO
from lt_checkpoint.paths import StrPath, local, remote
from lt_checkpoint.saving import check_state
from lt_checkpoint.snapshot import Memory

if TYPE_CHECKING:
    from lt_checkpoint.shard_writing import ShardedSave


@dataclass(frozen=True, slots=True)
class _Job:
    run: Callable[[], None]
    makes: str = ""
    removes: str = ""
    source: str = ""
    memory: Memory | None = None


class AsyncCheckpointIO(CheckpointIO):
    """Does what `checkpoint_io` does, in the background and in the order of the calls.

    `save_checkpoint` returns when the state is copied to CPU memory, which the next saves use again. While one file is
    written one more may wait, so there are at most two copies; a third save waits. What fails is told to `on_error` at
    once and raised by the next call, and deletions that were to follow it are left out, so an older file stays. The
    end of the program waits for what is not written yet. For one thread at a time.
    """

    def __init__(self, checkpoint_io: CheckpointIO | None = None) -> None:
        if isinstance(checkpoint_io, AsyncCheckpointIO) or not isinstance(checkpoint_io, CheckpointIO | None):
            raise TypeError(
                f"`AsyncCheckpointIO` got a `{type(checkpoint_io).__name__}`. Pass a `CheckpointIO` that saves at once."
            )
        self.checkpoint_io = checkpoint_io or CheckpointIO()
        self._prepare()

    def _prepare(self) -> None:
        self._changed = Condition()
        self._jobs: deque[_Job] = deque()  # the first is being done
        self._spare: list[Memory] = []
        self._failure: BaseException | None = None
        self._thread: Thread | None = None
        atexit.register(_say_unheard, weakref.ref(self))

    def __getstate__(self) -> dict[str, Any]:
        self.flush()
        return {"checkpoint_io": self.checkpoint_io, "on_error": self.on_error}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._prepare()

    def save_checkpoint(self, checkpoint: Mapping[str, Any], path: StrPath, storage_options: Any = None) -> None:
        check_state(checkpoint)
        with self._memory() as memory:
            snapshot = self._snapshot(memory, checkpoint)
            run = partial(self.checkpoint_io.save_checkpoint, snapshot, path, storage_options)
            self._put(_Job(run, makes=_name(path), memory=memory))

    def save_shards(self, save: "ShardedSave") -> None:
        with self._memory() as memory:
            save.begin(partial(self._snapshot, memory))
            save.leave_step()
            self._put(_Job(save.write, makes=_name(save.folder), memory=memory))

    @contextmanager
    def _memory(self) -> Iterator[Memory]:
        """Memory for one more snapshot, when there may be one."""
        with self._changed:
            self._changed.wait_for(lambda: sum(job.memory is not None for job in self._jobs) < 2)
        memory = self._spare.pop() if self._spare else Memory()
        try:
            yield memory
        except BaseException:
            self._spare.append(memory)
            raise

    def _snapshot(self, memory: Memory, state: Mapping[str, Any]) -> dict[str, Any]:
        self._raise_failure()  # here, where all ranks of a sharded save hear of it
        return memory.snapshot(state)

    def load_checkpoint(self, path: StrPath, map_location: Any = "cpu") -> dict[str, Any]:
        """What was saved there, once it is."""
        self.flush()
        return self.checkpoint_io.load_checkpoint(path, map_location)

    def remove_checkpoint(self, path: StrPath) -> None:
        self._put(_Job(partial(self.checkpoint_io.remove_checkpoint, path), removes=_name(path)))

    def link_checkpoint(self, source: StrPath, target: StrPath) -> None:
        run = partial(self.checkpoint_io.link_checkpoint, source, target)
        self._put(_Job(run, makes=_name(target), source=_name(source)))

    def exists(self, path: StrPath) -> bool:
        name = _name(path)
        with self._changed:
            for job in reversed(self._jobs):
                if name in (job.makes, job.removes):
                    return name == job.makes
        return self.checkpoint_io.exists(path)

    def flush(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._jobs)
            self._raise_failure()
        self.checkpoint_io.flush()

    def teardown(self) -> None:
        try:
            self.flush()
        finally:
            self._spare.clear()
            self.checkpoint_io.teardown()

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _put(self, job: _Job) -> None:
        """Queue it, unless something has failed: a deletion must not slip in behind a save that was not made."""
        with self._changed:
            if job.memory is None:  # the other ranks count on their shards' being followed by this one's
                self._raise_failure()
            self._jobs.append(job)
            if self._thread is None:  # no daemon: the interpreter waits for it, also after Ctrl-C
                self._thread = Thread(target=self._work, name="lt-checkpoint")
                self._thread.start()

    def _work(self) -> None:
        """Do what there is to do, then end: a thread that waited for more would keep the program from ending."""
        while True:
            with self._changed:
                if not self._jobs:
                    self._thread = None
                    return
                job = self._jobs[0]
            try:
                job.run()
            except BaseException as error:
                self._fail(job, error)
            with self._changed:
                self._jobs.popleft()
                if job.memory is not None:
                    self._spare.append(job.memory)
                self._changed.notify_all()

    def _fail(self, job: _Job, error: BaseException) -> None:
        """The first failure counts; nothing is deleted after one, and no name given to what was not written."""
        with self._changed:
            self._failure = self._failure or error
            followers = list(self._jobs)[1:]
            kept = [j for j in followers if not j.removes and (not j.source or j.source != job.makes)]
            self._jobs = deque([job, *kept])
        if self.on_error is not None:
            self.on_error(error)


def _name(path: StrPath) -> str:
    url = remote(path)
    return os.path.abspath(local(path)) if url is None else url


def _say_unheard(io: "weakref.ref[AsyncCheckpointIO]") -> None:
    """A failure after the last call has nobody to be raised to."""
    owner = io()
    if owner is not None and owner._failure is not None:
        error = owner._failure
        print(f"A checkpoint was not written: {type(error).__name__}: {error}", file=sys.stderr)
