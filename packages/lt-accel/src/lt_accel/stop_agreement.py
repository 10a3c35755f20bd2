"""How several processes stop at one step when only one of them was asked to, without a collective in any step."""

import threading
from collections.abc import Callable
from typing import Any

import torch.distributed as dist

_SECONDS_BETWEEN_LOOKS = 0.25
_SECONDS_UNTIL_CUT = 2.0  # a look ends in a moment, or never, where the cable to the store is cut


class StopAgreement:
    """One per rank and training run; torch's store carries the request, a thread looks there.

    Ranks that train together are never more than one optimizer step apart, since a step waits for the gradients of
    all. Each rank notes the step at which it learns of the request. The last step is the one after the highest noted:
    nobody gets there before all have noted theirs, so all come to the same one, whenever each of them heard.
    """

    def __init__(self, run: int, heard: Callable[[int], None]) -> None:
        c10d: Any = dist  # its stores are public, but not for type checkers
        default_store = c10d.distributed_c10d._get_default_store()
        self._rank, self._world_size = dist.get_rank(), dist.get_world_size()
        self._store, self._ear = (c10d.PrefixStore(f"lt-stop-{run}", default_store.clone()) for _ in range(2))
        self._noted = False
        self._last_step: int | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._listen, args=(heard,), name="lt-stop", daemon=True)
        self._thread.start()

    def is_reached(self, step: int, number: int) -> bool:
        """Whether all ranks stop after this step; `number` tells the others which signal it was."""
        if not self._noted:
            self._noted = True
            self._store.set("number", str(number))
            self._store.set(f"step-{self._rank}", str(step))
            self._store.add("noted", 1)
        elif self._last_step is None and self._store.add("noted", 0) == self._world_size:
            self._last_step = 1 + max(int(self._store.get(f"step-{rank}")) for rank in range(self._world_size))
        return self._last_step is not None and step >= self._last_step

    def close(self) -> None:
        """Look no longer."""
        self._over.set()
        self._thread.join(_SECONDS_UNTIL_CUT)

    def _listen(self, heard: Callable[[int], None]) -> None:
        try:
            while not self._over.wait(_SECONDS_BETWEEN_LOOKS):
                if self._ear.check(["number"]):
                    heard(int(self._ear.get("number")))
                    return
        except RuntimeError:  # the store ended with its process, and this one is about to learn of that
            return
