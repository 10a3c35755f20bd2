"""The state of every random number generator of this process, taken and put back."""

import ctypes
import random
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

Packed = tuple[Any, ...]


def capture(own: Sequence[torch.Generator] = ()) -> dict[str, Any]:
    """The states of Python, torch, CUDA and (if it is loaded) numpy, and of `own` generators, as plain values."""
    state: dict[str, Any] = {"python": random.getstate(), "torch": torch.get_rng_state()}
    if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        state["cuda"] = torch.cuda.get_rng_state_all()
    if "numpy" in sys.modules:
        name, keys, *rest = sys.modules["numpy"].random.get_state()
        state["numpy"] = (name, torch.from_numpy(keys.astype("int64")), *rest)
    state["own"] = [generator.get_state() for generator in own]
    return state


def restore(state: dict[str, Any], own: Sequence[torch.Generator] = ()) -> None:
    """Continue every generator from a captured state."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    torch.set_rng_state(state["torch"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])
    if "numpy" in state and "numpy" in sys.modules:
        name, keys, *rest = state["numpy"]
        sys.modules["numpy"].random.set_state((name, keys.numpy().astype("uint32"), *rest))
    for generator, its_state in zip(own, state.get("own", ()), strict=False):
        generator.set_state(its_state)


@contextmanager
def isolated() -> Iterator[dict[str, Any]]:
    """Whatever draws random numbers inside changes nothing outside; yields the states of before."""
    state = capture()
    try:
        yield state
    finally:
        restore(state)


def packed() -> Packed:
    """The generators of a loader's worker, cheap to compare and to send to another process."""
    states = torch.get_rng_state()
    numpy = sys.modules.get("numpy")
    if numpy is None:
        numbers: tuple[Any, ...] = ()
    else:
        name, keys, *rest = numpy.random.get_state()
        numbers = (name, keys.tobytes(), *rest)
    return ctypes.string_at(states.data_ptr(), states.numel()), random.getstate(), numbers


def unpack(state: Packed) -> None:
    """Continue from a packed state."""
    torch_state, (version, internal, gauss), numbers = state
    torch.set_rng_state(torch.frombuffer(bytearray(torch_state), dtype=torch.uint8))
    random.setstate((version, tuple(internal), gauss))
    numpy = sys.modules.get("numpy")
    if numpy is not None and numbers:
        name, keys, *rest = numbers
        numpy.random.set_state((name, numpy.frombuffer(keys, dtype="uint32"), *rest))
