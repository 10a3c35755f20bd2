"""Seeds that differ by worker, rank and epoch, and are the same in every run."""

import os
import random
import sys
from hashlib import blake2b

import torch
from torch import distributed


def mixed(*parts: int) -> int:
    """A seed of 63 bits out of integers; close ones give unrelated seeds, on every machine the same."""
    return int.from_bytes(blake2b(repr(parts).encode(), digest_size=8).digest()) >> 1


def seed_worker(worker_id: int, rank: int | None = None) -> None:
    """Seed a loader's worker for torch, random and numpy; give it as `worker_init_fn`.

    Torch seeds workers alike on every rank. `rank` is by default that of the process group or of torchrun's RANK.
    """
    if rank is None:
        joined = distributed.is_available() and distributed.is_initialized()
        rank = distributed.get_rank() if joined else int(os.environ.get("RANK", 0))
    base = torch.initial_seed() - worker_id
    torch.manual_seed(mixed(base, worker_id, rank, 0))
    random.seed(mixed(base, worker_id, rank, 1))
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        seed = mixed(base, worker_id, rank, 2)
        numpy.random.seed([seed >> 32, seed & 0xFFFFFFFF])
