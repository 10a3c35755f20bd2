"""Ends a run whose loss jumps up, and writes down the batches at which it did."""

import json
import math
import os
from collections import deque
from typing import Any

import torch
from lt_interfaces import Callback, MisconfigurationException, Trainer
from lt_interfaces.whole_file import write_text
from torch import Tensor

from lt_callbacks.log_steps import has_logged


class TrainingSpikeException(RuntimeError):
    """The loss spiked at `batch_idx` of its epoch."""

    def __init__(self, batch_idx: int) -> None:
        super().__init__(
            f"The training loss spiked in batch {batch_idx}. "
            "Continue from a checkpoint before it and leave out the batches listed in `skip_batches.json`."
        )
        self.batch_idx = batch_idx


class SpikeDetection(Callback):
    """Raises `TrainingSpikeException` when the loss is worse than before and far from its mean over `window` batches.

    Far means by `rtol` times the mean and, if given, by `atol`. The first `warmup` batches of the run are not judged.
    Each loss, the mean over the ranks, is judged in its turn, but only read in the steps that are logged. The batch
    and the one before it go to `skip_batches.json` in `exclude_batches_path`, by default the trainer's root.
    """

    device_reads = 0

    def __init__(
        self,
        mode: str = "min",
        window: int = 10,
        warmup: int = 1,
        atol: float | None = None,
        rtol: float | None = 2.0,
        exclude_batches_path: str | os.PathLike[str] | None = None,
        finite_only: bool = True,
    ) -> None:
        if mode not in ("min", "max"):
            raise MisconfigurationException(f"`mode` must be 'min' or 'max', got {mode!r}. Say which loss is better.")
        if window < 1 or warmup < 0:
            raise ValueError(f"`window={window}` and `warmup={warmup}` leave nothing to compare. Use 1 and 0 or more.")
        self.mode, self.warmup, self.atol, self.rtol, self.finite_only = mode, warmup, atol, rtol, finite_only
        self.exclude_batches_path = exclude_batches_path
        self.bad_batches: list[int] = []
        self._recent: deque[float] = deque(maxlen=window)
        self._last = math.inf if mode == "min" else -math.inf
        self._judged = self._looked = 0
        self._waiting: list[tuple[int, Tensor]] = []

    def state_dict(self) -> dict[str, Any]:
        return {
            "bad_batches": list(self.bad_batches),
            "recent": list(self._recent),
            "last_val": self._last,
            "judged": self._judged,
            "waiting": [[batch_idx, loss.cpu()] for batch_idx, loss in self._waiting],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.bad_batches = list(state_dict["bad_batches"])
        self._last = float(state_dict["last_val"])
        self._recent.extend(state_dict.get("recent", ()))
        self._judged = state_dict.get("judged", 0)
        self._waiting = [(batch_idx, loss) for batch_idx, loss in state_dict.get("waiting", ())]

    def update(self, loss: float) -> bool:
        """Take one more loss; True if it is a spike, and then it does not count for the mean."""
        if self._judged >= self.warmup and self._is_spike(loss):
            return True
        self._judged += 1
        if math.isfinite(loss):
            self._recent.append(loss)
            self._last = loss
        return False

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        if isinstance(loss, Tensor):
            self._waiting.append((batch_idx, loss.detach().reshape(())))
        if has_logged(trainer) and trainer.global_step != self._looked:
            self._judge(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        self._judge(trainer)

    def _judge(self, trainer: Trainer) -> None:
        self._looked = trainer.global_step
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        self.device_reads += 1
        device = trainer.engine.device
        losses = torch.stack([loss.to(device, torch.float32) for _, loss in waiting])
        for (batch_idx, _), loss in zip(waiting, trainer.engine.all_reduce(losses, "mean").tolist(), strict=True):
            if self.update(loss):
                self.bad_batches += [batch_idx - 1, batch_idx] if batch_idx else [batch_idx]
                if trainer.is_global_zero:
                    write_text(self._path(trainer), json.dumps(self.bad_batches))
                raise TrainingSpikeException(batch_idx)

    def _path(self, trainer: Trainer) -> str:
        path = os.fspath(self.exclude_batches_path or trainer.default_root_dir)
        return path if path.endswith(".json") else os.path.join(path, "skip_batches.json")

    def _is_spike(self, loss: float) -> bool:
        if not math.isfinite(loss):
            return self.finite_only
        if not self._recent or (loss <= self._last if self.mode == "min" else loss >= self._last):
            return False
        mean = sum(self._recent) / len(self._recent)
        distance = abs(loss - mean)
        return distance >= abs(self.atol or 0.0) and distance >= abs((self.rtol or 0.0) * mean)
