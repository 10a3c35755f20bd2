"""This process's membership in torch's default process group: joined, left and joined again, without port races.

The store in which processes find each other is opened once and kept, and each joining uses keys of its own in it.
"""

import os
import socket
import sys
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

_c10d: Any = dist  # its stores are public, but not for type checkers
HOSTED = "_LT_ACCEL_HOSTED"
"""Set where our launcher serves the store: then no rank does."""

_store: Any = None
_is_hosted = False
_joined = 0
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
    global _store, _joined
    _store, _joined = None, 0


def join(*, backend: str, rank: int, world_size: int, timeout: timedelta, address: str, port: int) -> bool:
    """Enter the default group; False if this process is in one already."""
    global _store, _joined, _previous_hook
    if dist.is_initialized():
        if dist.get_world_size() != world_size:
            raise RuntimeError(
                f"This process is in a group of {dist.get_world_size()}, and one of {world_size} was asked for. "
                "Leave it with `torch.distributed.destroy_process_group()` or ask for as many devices."
            )
        return False
    if _store is None and HOSTED in os.environ:
        _store = _c10d.TCPStore(address, port, is_master=False, timeout=timeout, wait_for_workers=False)
    elif _store is None:
        _store, _, _ = next(_c10d.rendezvous("env://", rank=rank, world_size=world_size, timeout=timeout))
    store = _c10d.PrefixStore(f"lt-{_joined}", _store)
    _joined += 1
    hook = sys.excepthook
    dist.init_process_group(backend, store=store, rank=rank, world_size=world_size, timeout=timeout)
    if _is_hosted or HOSTED in os.environ:  # our launcher says whose traceback it is
        sys.excepthook = hook
    else:
        _previous_hook = hook  # torch's prints the rank before each line
    return True


def leave() -> None:
    """Leave the default group, if this process is in one."""
    global _previous_hook
    if dist.is_initialized():
        dist.destroy_process_group()
    if _previous_hook is not None:
        sys.excepthook, _previous_hook = _previous_hook, None


def default_backend(device: torch.device) -> str:
    """Groups can always exchange CPU tensors, so that flags need no GPU."""
    return {"cuda": "cpu:gloo,cuda:nccl", "xpu": "cpu:gloo,xpu:xccl"}.get(device.type, "gloo")
