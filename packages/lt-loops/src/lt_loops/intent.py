"""What a run takes over from a checkpoint: everything, or the weights alone, with what is to be different now."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lt_interfaces import MisconfigurationException, did_you_mean, rank_zero_info


@dataclass(frozen=True, slots=True)
class Resume:
    """Passed as `ckpt_path` of `fit`, says what to take over from the file and what to change.

    Args:
        path: What `ckpt_path` takes otherwise: a path, "best", "last", ...
        weights_only: Take the weights and start training anew: step 0, fresh optimizers, fresh callbacks.
        override: Values that win over the file's, by name: `{"optimizer.lr": 1e-4}` for all optimizers and groups,
            `{"optimizer.1.weight_decay": 0.1}` for the second optimizer. Schedulers go on from an overridden rate.
            Every checkpoint written from then on tells of it under `["lt"]["history"]`.
    """

    path: Any
    weights_only: bool = False
    override: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in self.override:
            parts = name.split(".")
            if parts[0] != "optimizer" or not 2 <= len(parts) <= 3 or (len(parts) == 3 and not parts[1].isdecimal()):
                raise MisconfigurationException(
                    f"`override` got {name!r}, which names nothing in a checkpoint. Write 'optimizer.lr', or "
                    "'optimizer.1.lr' for the second optimizer; limits and flags are the trainer's own."
                )
        if self.weights_only and self.override:
            raise MisconfigurationException(
                "`weights_only=True` takes no optimizer from the file, and `override` changes one. "
                "Set the values in `configure_optimizers`."
            )

    def apply(self, trainer: Any) -> None:
        """Change the restored optimizers."""
        for name, value in self.override.items():
            parts = name.split(".")
            chosen = [int(parts[1])] if len(parts) == 3 else range(len(trainer.optimizers))
            for i in chosen:
                if i >= len(trainer.optimizers):
                    raise MisconfigurationException(
                        f"`override` got {name!r}, and there are {len(trainer.optimizers)} optimizers. Count from 0."
                    )
                _set(trainer, trainer.optimizers[i], name, parts[-1], value)
            rank_zero_info(f"Resuming with {name} = {value!r} instead of the checkpoint's.")

    def record(self, path: str, step: int) -> dict[str, Any]:
        """How this start is told in the checkpoints that follow."""
        return {"path": path, "step": step, "weights_only": self.weights_only, "override": dict(self.override)}


def _set(trainer: Any, optimizer: Any, name: str, key: str, value: Any) -> None:
    for group in optimizer.param_groups:
        known = [k for k in group if k not in ("params", "initial_lr")]
        if key not in known:
            raise MisconfigurationException(
                f"`override` got {name!r}, and `{type(optimizer).__name__}` has no `{key}`. {did_you_mean(key, known)}"
            )
    schedulers = [c.scheduler for c in trainer.lr_scheduler_configs]
    for i, group in enumerate(optimizer.param_groups):
        before, group[key] = group[key], value
        if key != "lr" or not before:
            continue
        scale = value / before
        if "initial_lr" in group:
            group["initial_lr"] *= scale
        for scheduler in schedulers:
            if getattr(scheduler, "optimizer", None) is optimizer and hasattr(scheduler, "base_lrs"):
                scheduler.base_lrs[i] *= scale
