"""This process's membership in torch's default process group: joined, left and joined again, without port races.

The store in which processes find each other is opened once and kept, and each joining uses keys of its own in it.
"""

import json
import os
import socket
import sys
import time
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
import torch.distributed as dist

from lt_accel.failures import PeerLost, die_with_parent, failure_of
from lt_accel.roll_call import assemble
from lt_accel.time_limit import within

_c10d: Any = dist  # its stores are public, but not for type checkers
HOSTED = "_LT_ACCEL_HOSTED"
"""Set where our launcher serves the store: then no rank does."""

_ANSWER_SECONDS = 15.0
_ECHO_SECONDS = 1.0
_LETTING_GO_SECONDS = 0.02
_ERROR_FILE = "TORCHELASTIC_ERROR_FILE"

_store: Any = None
_is_hosted = False
_previous_hook: Any = None


def host_store() -> Any:
    """A store that this process serves, reachable from this machine only; its port is `.port`."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    return _c10d.TCPStore("127.0.0.1", port, is_master=True, wait_for_workers=False, master_listen_fd=listener.detach())


def serve_store() -> int:
    """Serve the store for as long as this process lives; returns its port."""
    global _store, _is_hosted
    if _store is None:
        _store, _is_hosted = host_store(), True
    port: int = _store.port
    return port


def forget_store() -> None:
    """In a forked process: the parent's connections are of no use here."""
    global _store
    _store = None


def join(
    *,
    backend: str,
    rank: int,
    world_size: int,
    timeout: timedelta,
    assembly_timeout: timedelta,
    address: str,
    port: int,
) -> bool:
    """Enter the default group; False if this process is in one already."""
    global _store, _previous_hook
    if dist.is_initialized():
        if dist.get_world_size() != world_size:
            raise RuntimeError(
                f"This process is in a group of {dist.get_world_size()}, and one of {world_size} was asked for. "
                "Leave it with `torch.distributed.destroy_process_group()` or ask for as many devices."
            )
        return False
    patience = assembly_timeout.total_seconds()
    if _store is None and rank == 0 and not _is_served():
        _store = _serve(address, port, timeout, patience)
    elif _store is None:
        _reach(address, port, patience)
        _store = _open(address, port, timeout)
    gather = partial(assemble, _store, rank, world_size, patience, f"{address}:{port}")
    store = _c10d.PrefixStore(gather(), _store)
    hook = sys.excepthook
    dist.init_process_group(backend, store=store, rank=rank, world_size=world_size, timeout=timeout)
    with suppress(PeerLost):  # rank zero saw all of them, and is done already
        gather()  # a rank that leaves while another still connects to it breaks that one's connection
    if _is_hosted or HOSTED in os.environ:  # our launcher says whose traceback it is
        sys.excepthook = hook
    else:
        _previous_hook, sys.excepthook = hook, _reporting(sys.excepthook, rank)
    if _is_elastic():
        die_with_parent(os.getppid())
    return True


def _is_elastic() -> bool:
    return "TORCHELASTIC_RUN_ID" in os.environ


def _reporting(show: Any, rank: int) -> Any:
    """The hook of a process whose launcher is another's; `show` is torch's, which prints the rank before each line."""

    def report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> Any:
        if issubclass(kind, KeyboardInterrupt):
            return show(kind, error, trace)
        failure = failure_of(error, rank)
        if _is_elastic() and failure.is_echo:
            time.sleep(_ECHO_SECONDS)  # torchrun ends this process meanwhile, and takes the cause for the first failure
        elif _ERROR_FILE in os.environ:  # torchrun prints what is there at its end
            told = {"py_callstack": failure.text, "timestamp": str(int(time.time()))}
            message = {"message": f"{kind.__name__}: {error}", "extraInfo": told}
            Path(os.environ[_ERROR_FILE]).write_text(json.dumps({"message": message}))
        abort()
        return show(kind, error, trace)

    return report


def _is_served() -> bool:
    """True if a launcher serves the store, ours or torchrun."""
    return HOSTED in os.environ or os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"


def _serve(address: str, port: int, timeout: timedelta, seconds: float) -> Any:
    store = partial(_c10d.TCPStore, address, port, is_master=True, timeout=timeout, multi_tenant=True)
    try:
        return within(seconds, partial(store, wait_for_workers=False))
    except dist.DistNetworkError as error:
        raise RuntimeError(
            f"Rank 0 cannot listen on port {port}, which `MASTER_PORT` names: {_reason(error)}. Set `MASTER_PORT` to a "
            f"port that is free on {address}, or end the program that has it (`ss -ltnp 'sport = :{port}'`)."
        ) from None
    except TimeoutError:
        raise TimeoutError(
            f"Rank 0 listens on port {port}, but cannot reach itself at {address}:{port} within {seconds:g} seconds. "
            "Set `MASTER_ADDR` to an address of the machine on which rank 0 runs."
        ) from None


def _reason(error: Exception) -> str:
    return str(error).rpartition("message: ")[2].splitlines()[0]


def _reach(address: str, port: int, seconds: float) -> None:
    """Wait until somebody listens there: rank zero may start later than others."""
    deadline, pause = time.monotonic() + seconds, 0.02
    while True:
        try:
            return socket.create_connection((address, port), timeout=_ANSWER_SECONDS).close()
        except OSError as error:
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"Rank 0 is missing: nothing could be reached at {address}:{port}, where it should listen, within "
                    f"{seconds:g} seconds ({error}). Start it, or correct `MASTER_ADDR` and `MASTER_PORT`."
                ) from None
        time.sleep(pause)
        pause = min(2 * pause, 1.0)


def _open(address: str, port: int, timeout: timedelta) -> Any:
    """The store there; RuntimeError if what listens is no store, which torch itself would wait for."""
    store = partial(_c10d.TCPStore, address, port, is_master=False, timeout=timeout, wait_for_workers=False)
    try:
        return within(_ANSWER_SECONDS, store)
    except (TimeoutError, dist.DistError):
        raise RuntimeError(
            f"What listens at {address}:{port} is not rank 0 of this job: it gave no answer within "
            f"{_ANSWER_SECONDS:g} seconds. Set `MASTER_PORT` to a free port, the same for all ranks."
        ) from None


def leave() -> None:
    """Leave the default group, if this process is in one."""
    global _previous_hook
    if dist.is_initialized():
        dist.destroy_process_group()
        # DDP keeps gloo's threads alive, and one may need the GIL to let go of the last tensors: had it to wait until
        # the interpreter ends, the process would be aborted.
        time.sleep(_LETTING_GO_SECONDS)
    if _previous_hook is not None:
        sys.excepthook, _previous_hook = _previous_hook, None


def abort() -> None:
    """After a failure: break the connections, so that the others notice now and not when this process has ended."""
    if dist.is_initialized():
        with suppress(Exception):  # torch's own, and still private
            dist.distributed_c10d._abort_process_group()


def default_backend(device: torch.device) -> str:
    """Groups can always exchange CPU tensors, so that flags need no GPU."""
    return {"cuda": "cpu:gloo,cuda:nccl", "xpu": "cpu:gloo,xpu:xccl"}.get(device.type, "gloo")
