"""Random numbers that can be repeated: one seed for all generators, and workers that do not repeat each other."""

import os
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lt_interfaces import rank_zero_info

_SEED = "PL_GLOBAL_SEED"
_WORKERS = "PL_SEED_WORKERS"
_LARGEST = 2**32 - 1


def seed_everything(seed: int | None = None, workers: bool = False, verbose: bool = False) -> int:
    """Seed Python, torch, every GPU and (if it is loaded) numpy alike on every rank; returns the seed.

    None takes the seed of the environment variable `PL_GLOBAL_SEED`, else 0. DataLoader workers draw different numbers
    on each rank whether or not `workers` is set.
    """
    given = os.environ.get(_SEED) if seed is None else seed
    if given is None:
        given = 0
        rank_zero_info(f"No seed was given and `{_SEED}` is not set: the seed is 0.")
    try:
        seed = int(given)
    except (TypeError, ValueError):
        where = f"`{_SEED}`" if seed is None else "`seed`"
        raise ValueError(f"{where} must be a whole number, got {given!r}. Pass e.g. `seed=1`.") from None
    if not 0 <= seed <= _LARGEST:
        raise ValueError(f"`seed` must be between 0 and {_LARGEST}, got {seed}. Choose one in that range.")
    if verbose:
        rank_zero_info(f"Seed: {seed}")
    os.environ[_SEED] = str(seed)
    os.environ[_WORKERS] = str(int(workers))
    _seed_all(seed)
    return seed


def reset_seed() -> None:
    """Seed again with the seed that was set last, if one was."""
    if _SEED in os.environ:
        seed_everything(int(os.environ[_SEED]), workers=os.environ.get(_WORKERS) == "1")


def global_seed() -> int:
    """The seed that was set last, else 0."""
    return int(os.environ.get(_SEED, "0"))


@contextmanager
def isolate_rng(include_cuda: bool = True) -> Iterator[None]:
    """Random numbers drawn inside change nothing outside."""
    state = _capture(include_cuda)
    try:
        yield
    finally:
        _restore(state)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Inside, the generators of the CPU start from `seed`; outside, nothing changes."""
    state = _capture(include_cuda=False)
    try:
        random.seed(seed)
        torch.default_generator.manual_seed(seed)
        if "numpy" in sys.modules:
            sys.modules["numpy"].random.seed(seed % 2**32)
        yield
    finally:
        _restore(state)


def seed_worker(worker_id: int, rank: int = 0) -> None:
    """A DataLoader's `worker_init_fn`: workers of each rank draw numbers of their own; rank 0 keeps torch's seed."""
    if rank:
        _seed_all(_mix(torch.initial_seed(), rank))


def pl_worker_init_function(worker_id: int, rank: int | None = None) -> None:
    """Lightning's name for `seed_worker`; the rank is that of the environment unless given."""
    seed_worker(worker_id, int(os.environ.get("RANK", "0")) if rank is None else rank)


def _seed_all(seed: int) -> None:
    random.seed(seed)
    torch.manual_seed(seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(seed % 2**32)


def _mix(seed: int, rank: int) -> int:
    """Two numbers hashed into one, so that neighbouring seeds and ranks share nothing (SplitMix64)."""
    mask = 2**64 - 1
    z = (seed + rank * 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return (z ^ (z >> 31)) % 2**63


def _capture(include_cuda: bool) -> dict[str, Any]:
    state: dict[str, Any] = {"python": random.getstate(), "torch": torch.get_rng_state()}
    if include_cuda and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        state["cuda"] = torch.cuda.get_rng_state_all()
    if "numpy" in sys.modules:
        state["numpy"] = sys.modules["numpy"].random.get_state()
    return state


def _restore(state: dict[str, Any]) -> None:
    random.setstate(state["python"])
    torch.set_rng_state(state["torch"])
    if "cuda" in state:
        torch.cuda.set_rng_state_all(state["cuda"])
    if "numpy" in state:
        sys.modules["numpy"].random.set_state(state["numpy"])
