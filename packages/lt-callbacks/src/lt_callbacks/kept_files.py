"""The memory of a checkpoint callback: which files it wrote, ranked by their score."""

import json
import os
from typing import Any

import torch
from lt_interfaces import MisconfigurationException, Trainer, rank_zero_warn
from lt_interfaces.whole_file import write_text
from torch import Tensor

from lt_callbacks import ranking
from lt_callbacks.checkpoint import Checkpoint
from lt_callbacks.checkpoint_paths import is_address, is_same

TOLD = (
    "monitor", "dirpath", "best_model_path", "best_model_score", "current_score", "kth_best_model_path", "kth_value",
    "last_model_path",
)  # fmt: skip


class KeptFiles(Checkpoint):
    """Keeps the paths of the `save_top_k` best files; without `monitor`, of the newest."""

    def __init__(self, monitor: str | None, mode: str, save_top_k: int, dirpath: str | None) -> None:
        if save_top_k < -1 or (monitor is None and save_top_k > 1):
            raise MisconfigurationException(
                f"`save_top_k={save_top_k}` with `monitor={monitor!r}` ranks nothing. "
                "Give -1 (keep all), 0 (none), 1 (the newest), or a `monitor` and the number of best files to keep."
            )
        if mode not in ("min", "max"):
            raise MisconfigurationException(f"`mode` must be 'min' or 'max', got {mode!r}. Say which score is better.")
        self.monitor, self.mode, self.save_top_k, self.dirpath = monitor, mode, save_top_k, dirpath
        self.best_model_path = ""
        self.best_model_score: Tensor | None = None
        self.current_score: Tensor | None = None
        self.best_k_models: dict[str, Tensor] = {}
        self.kth_best_model_path = ""
        self.kth_value = torch.tensor(ranking.worst_score(mode))
        self.last_model_path = ""

    def check_monitor_top_k(self, trainer: Trainer, current: Tensor | None = None) -> bool:
        """True if a file with this score would be kept: strictly better than the worst one, or room is left."""
        if current is None:
            return False
        if self.save_top_k == -1 or len(self.best_k_models) < self.save_top_k:
            return True
        if self.save_top_k == 0:
            return False
        return ranking.beats(ranking.comparable(current, self.mode), self.kth_value, self.mode)

    def file_exists(self, filepath: str | os.PathLike[str], trainer: Trainer) -> bool:
        """True if the trainer knows such a checkpoint, written or on its way; without its help, if there is a file."""
        return bool(getattr(trainer, "checkpoint_exists", os.path.exists)(filepath))

    def to_yaml(self, filepath: str | os.PathLike[str] | None = None) -> None:
        """Write the kept paths with their scores; by default into `best_k_models.yaml` beside them."""
        target = os.fspath(filepath or os.path.join(self.dirpath or "", "best_k_models.yaml"))
        if is_address(target):
            raise ValueError(f"`to_yaml` writes to this machine only, not to {target!r}. Pass a local `filepath`.")
        write_text(target, "".join(f"{json.dumps(p)}: {score.item()}\n" for p, score in self.best_k_models.items()))

    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in TOLD} | {"best_k_models": dict(self.best_k_models)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if self.continues_in_folder_of(state_dict):
            self.last_model_path = state_dict.get("last_model_path", "")
            self.best_k_models = {p: torch.as_tensor(s) for p, s in state_dict.get("best_k_models", {}).items()}
            self._rank()
        elif state_dict.get("best_k_models"):
            rank_zero_warn(
                f"The scores of the checkpoints in {state_dict.get('dirpath')!r} are not taken over, since `dirpath` "
                f"is {self.dirpath!r} now. Give the same `dirpath` to go on with them."
            )
        self.best_model_path = state_dict.get("best_model_path", "")
        self.current_score = state_dict.get("current_score")

    def continues_in_folder_of(self, state_dict: dict[str, Any]) -> bool:
        """True if a saved state speaks of the folder that is written to now."""
        then = state_dict.get("dirpath")
        return self.dirpath is not None and then is not None and is_same(self.dirpath, then)

    def _keep(self, path: str, score: Tensor | None, evicted: str) -> None:
        if score is None:
            self.best_model_path = path
            return
        self.best_k_models.pop(evicted, None)
        self.best_k_models.pop(path, None)
        self.best_k_models[path] = score
        self._rank()

    def _rank(self) -> None:
        models, full = self.best_k_models, 0 < self.save_top_k <= len(self.best_k_models)
        self.best_model_path = ranking.best(models, self.mode) if models else ""
        self.best_model_score = models[self.best_model_path] if models else None
        self.kth_best_model_path = ranking.worst(models, self.mode) if full else ""
        self.kth_value = models[self.kth_best_model_path] if full else torch.tensor(ranking.worst_score(self.mode))

    def _forget_lost_files(self, trainer: Trainer) -> None:
        """A state may list files that the run it comes from deleted later on."""
        lost = trainer.engine.broadcast([p for p in self.best_k_models if not self.file_exists(p, trainer)])
        for path in lost:
            del self.best_k_models[path]
        if lost:
            self._rank()
