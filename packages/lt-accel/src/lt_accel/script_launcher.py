"""Starts the other ranks by running the command line again, and lets no rank outlive the failure of another.

This process is the first rank. A thread for each child waits for its end; if that was a failure, this process gets a
few seconds to end by itself (it usually fails in its next collective), then all are stopped. The traceback of the
rank that failed first is printed last. A child ends when its parent does.
"""

import atexit
import json
import os
import signal
import subprocess
import sys
import threading
import time
from types import TracebackType

import torch

from lt_accel import process_group
from lt_accel.failures import Failure, die_with_parent, ended, failure_of
from lt_accel.strategies.strategy import Strategy

_PARENT = "_LT_ACCEL_PARENT"
_GRACE_SECONDS = 3.0
_CLEANING_SECONDS = 2.0
_STOPPED = (0, 128 + signal.SIGINT, 128 + signal.SIGTERM, -signal.SIGINT)  # ended well, or by a request to stop
_START_FOLDER = os.getcwd()  # the command line means files as seen from there, wherever the script has gone since

_children: "_Children | None" = None
_is_followed = False


def launch_script(strategy: Strategy) -> None:
    """Start the ranks of this machine after the first, once in the life of this process."""
    global _children
    variables = {"NODE_RANK": str(strategy.node_rank), "WORLD_SIZE": str(strategy.world_size)}
    if strategy.num_nodes == 1:
        variables |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(process_group.serve_store())}
    if strategy.num_processes == 1:
        return
    threads = share_threads(strategy.num_processes)
    first = strategy.node_rank * strategy.num_processes
    os.environ.update(variables, RANK=str(first), LOCAL_RANK="0")
    if strategy.num_nodes == 1:
        variables[process_group.HOSTED] = "1"
    _children = _Children()
    for i in range(1, strategy.num_processes):
        _children.start(i, {**variables, **threads, "RANK": str(first + i), "LOCAL_RANK": str(i)})
    _children.watch()


def is_child() -> bool:
    """True in a process that `launch_script` started."""
    return _PARENT in os.environ


def follow_parent() -> None:
    """In a child: end with the parent, and tell it of a failure instead of printing it."""
    global _is_followed
    if _is_followed:
        return
    _is_followed = True
    parent, pipe = map(int, os.environ[_PARENT].split(":"))
    die_with_parent(parent)
    previous = sys.excepthook

    def tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            return
        try:
            os.write(pipe, json.dumps(failure_of(error, int(os.environ["RANK"])), ensure_ascii=False).encode())
        except OSError:
            previous(kind, error, trace)
        process_group.abort()

    sys.excepthook = tell


def share_threads(processes: int) -> dict[str, str]:
    """The variable that gives each of several processes its share of the processors; taken here as well."""
    if "OMP_NUM_THREADS" in os.environ or processes == 1:
        return {}
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = max(1, processors // processes)
    torch.set_num_threads(share)
    return {"OMP_NUM_THREADS": str(share)}


class _Children:
    """The other ranks on this machine."""

    def __init__(self) -> None:
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._pipes: dict[int, int] = {}
        self._told: dict[int, Failure] = {}
        self._failures: list[Failure] = []
        self._left: list[Failure] = []
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._ending = threading.Event()

    def start(self, local_rank: int, variables: dict[str, str]) -> None:
        """Run the command line again with these variables."""
        reading, writing = os.pipe()
        command = [sys.executable, *sys.orig_argv[1:], *_hydra_arguments(local_rank)]
        self._processes[local_rank] = subprocess.Popen(  # noqa: S603
            command,
            env={**os.environ, **variables, _PARENT: f"{os.getpid()}:{writing}"},
            cwd=_START_FOLDER if os.path.isdir(_START_FOLDER) else None,
            pass_fds=(writing,),
        )
        os.close(writing)
        self._pipes[local_rank] = reading

    def watch(self) -> None:
        """See to it that nobody is left behind, however this process or a child ends."""
        for rank in self._processes:
            thread = threading.Thread(target=self._wait, args=(rank,), name=f"lt-rank-{rank}", daemon=True)
            thread.start()
            self._threads.append(thread)
        self._previous_hook, sys.excepthook = sys.excepthook, self._on_exception
        atexit.register(self._join)  # by then this process has left the group, so no child waits for it

    def _wait(self, rank: int) -> None:
        code = self._processes[rank].wait()
        if code in _STOPPED:
            self._left.append(ended(rank, code))
            return
        with self._lock:
            self._hear()
            self._failures.append(self._told.get(rank) or ended(rank, code))
        self._ending.wait(_GRACE_SECONDS)
        with self._lock:
            if not self._ending.is_set():
                self._kill()
                self._print_first(self._failures)
                os._exit(1)

    def _hear(self) -> None:
        """Take what the children have told."""
        for rank, pipe in self._pipes.items():
            os.set_blocking(pipe, False)
            try:
                message = os.read(pipe, 1 << 16)
            except BlockingIOError:
                continue
            if message:
                self._told[rank] = Failure(*json.loads(message))

    def _on_exception(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        with self._lock:
            self._ending.set()  # from here on this thread alone says what happened
        own = failure_of(error, int(os.environ["RANK"]))
        self._previous_hook(kind, error, trace)
        process_group.abort()
        failures = [own, *self._failures_of_children(own)]
        self._kill(after=_CLEANING_SECONDS)
        if min(failures) is not own:
            self._print_first(failures)

    def _failures_of_children(self, own: Failure) -> list[Failure]:
        """Of children that failed before: at once where this one is a cause, after a while where it is an echo."""
        deadline = time.monotonic() + (_GRACE_SECONDS if own.is_echo else 0.3)
        while True:
            with self._lock:
                self._hear()
                known = [*self._told.values(), *(f for f in self._failures if f.rank not in self._told)]
            over = time.monotonic() > deadline
            if over or not all(failure.is_echo for failure in known):
                return known or (self._left if own.is_echo else [])
            time.sleep(0.05)

    def _join(self) -> None:
        for thread in self._threads:
            thread.join()

    def _kill(self, after: float = 0.0) -> None:
        """End the children; those that failed clean up meanwhile, else the workers of their loaders linger."""
        deadline = time.monotonic() + after
        while time.monotonic() < deadline and any(process.poll() is None for process in self._processes.values()):
            time.sleep(0.02)
        for process in self._processes.values():
            process.kill()

    def _print_first(self, failures: list[Failure]) -> None:
        first = min(failures)
        sys.stdout.flush()
        print(f"\nRank {first.rank} failed first:\n{first.text}", end="", file=sys.stderr, flush=True)


def _hydra_arguments(local_rank: int) -> list[str]:
    """Hydra writes its files once, and every rank works in the same folder."""
    hydra = sys.modules.get("hydra.core.hydra_config")
    if hydra is None or not hydra.HydraConfig.initialized():
        return []
    folder = hydra.HydraConfig.get().runtime.output_dir
    return [f"hydra.run.dir={json.dumps(folder)}", f"hydra.job.name=rank_{local_rank}", "hydra.output_subdir=null"]
