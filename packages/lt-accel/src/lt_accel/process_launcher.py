"""Starts a function in new processes of this machine, one for each rank, and brings back what rank zero returned."""

import gc
import multiprocessing
import os
import pickle
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from typing import Any

import torch

from lt_accel import process_group
from lt_accel.failures import Failure, die_with_parent, ended, failure_of
from lt_accel.script_launcher import share_threads
from lt_accel.strategies.strategy import Strategy

_GRACE_SECONDS = 3.0
_SHORT_GRACE_SECONDS = 1.0  # where the cause is known already


def launch_processes(strategy: Strategy, function: Callable[[], Any]) -> Any:
    """`function()` in each rank; returns rank zero's result or raises RuntimeError with the first traceback."""
    method = strategy.start_method
    if method == "fork" and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        raise RuntimeError(
            "CUDA was used in this process already, so it cannot be forked. Restart it and touch no GPU before "
            "`launch`, or use `strategy='ddp_spawn'`."
        )
    payload = function if method == "fork" else _packed(function, method)
    first = strategy.node_rank * strategy.num_processes
    variables = {"NODE_RANK": str(strategy.node_rank), "WORLD_SIZE": str(strategy.world_size)}
    if strategy.num_nodes == 1:
        store = process_group.host_store()  # served until all processes are done
        variables |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port), process_group.HOSTED: "1"}
    context = multiprocessing.get_context(method)
    threads = torch.get_num_threads()
    variables |= share_threads(strategy.num_processes)
    running: dict[Connection, Any] = {}
    freezes = method == "fork" and gc.get_freeze_count() == 0
    if freezes:
        gc.freeze()  # collected in a child, garbage of this process may wait for threads that were not forked
    try:
        for i in range(strategy.num_processes):
            ours, theirs = context.Pipe(duplex=False)
            place = {**variables, "RANK": str(first + i), "LOCAL_RANK": str(i)}
            process = context.Process(target=_work, args=(payload, place, theirs, os.getpid()))  # type: ignore[attr-defined]
            process.start()
            theirs.close()
            running[ours] = process
        return _collect(running)
    finally:
        if freezes:
            gc.unfreeze()
        torch.set_num_threads(threads)
        for process in running.values():
            process.kill()
            process.join()


def _packed(function: Callable[[], Any], method: str) -> bytes:
    # By value: what multiprocessing sends itself would share the memory of tensors, so that all ranks train one copy.
    try:
        return pickle.dumps(function)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise TypeError(
            f"The function or its arguments cannot be sent to new processes ({error}). Define them at the top of a "
            f"module, or use `strategy='ddp_fork'` instead of start method {method!r}."
        ) from error


def _work(payload: Any, variables: dict[str, str], results: Connection, parent: int) -> None:
    die_with_parent(parent)
    process_group.forget_store()
    os.environ.update(variables)
    rank = int(variables["RANK"])
    if callable(payload):
        torch.set_num_threads(1)  # a forked process in which OpenMP starts threads again may hang
    try:
        function = payload if callable(payload) else pickle.loads(payload)  # noqa: S301, what our parent packed
        result = function()
        outcome = pickle.dumps(result if rank == 0 else None)
    except BaseException as error:
        results.send((failure_of(error, rank), b""))
        process_group.abort()
        raise SystemExit(1) from None
    results.send((None, outcome))


def _collect(running: dict[Connection, Any]) -> Any:
    """Rank zero's result; the others are given a few seconds to fail by themselves once one has."""
    ranks = {connection: i for i, connection in enumerate(running)}
    waiting = set(running)
    failures: list[Failure] = []
    deadline = float("inf")
    result: Any = None
    while waiting and time.monotonic() < deadline:
        ready = set(wait(waiting, timeout=0.5))
        for connection in list(waiting):
            if connection not in ready and running[connection].is_alive():
                continue
            waiting.discard(connection)
            try:
                failure, outcome = (
                    connection.recv() if connection.poll() else (_silent(running, connection, ranks), b"")
                )
            except EOFError:
                failure, outcome = _silent(running, connection, ranks), b""
            if failure is not None:
                failures.append(failure)
                grace = _GRACE_SECONDS if failure.is_echo else _SHORT_GRACE_SECONDS
                deadline = min(deadline, time.monotonic() + grace)
            elif ranks[connection] == 0:
                result = pickle.loads(outcome)  # noqa: S301, what our child packed
    if failures:
        first = min(failures)
        raise RuntimeError(f"Rank {first.rank} failed first:\n\n{first.text}")
    for process in running.values():
        process.join()
    return result


def _silent(running: dict[Connection, Any], connection: Connection, ranks: dict[Connection, int]) -> Failure:
    running[connection].join()
    return ended(ranks[connection], running[connection].exitcode)
