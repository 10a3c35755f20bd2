"""A metric that decides something: reading it, and knowing whether it belongs to the weights as they are now."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from lt_interfaces import MisconfigurationException, Trainer, did_you_mean

ALWAYS_KNOWN = ("epoch", "step")

Moment = Literal["batch", "validation", "epoch"]


def number(value: Any, name: str) -> torch.Tensor:
    """A metric's value as a tensor of one element on the CPU, apart from the graph and from later updates."""
    tensor = torch.as_tensor(value).detach().cpu().clone()
    if tensor.numel() != 1:
        raise ValueError(
            f"The monitored metric `{name}` has {tensor.numel()} elements. Log a single number, for instance its mean."
        )
    return tensor.reshape(())


def not_logged(owner: str, name: str, metrics: Mapping[str, Any]) -> str:
    """The message for a metric that should be there and is not."""
    known = sorted(str(k) for k in metrics)
    exist = "The metrics that exist are " + ", ".join(f"`{k}`" for k in known) + "." if known else "No metric exists."
    remedy = did_you_mean(name, known) if known else ""
    if not remedy.startswith("Did"):
        remedy = f"Log it with `self.log({name!r}, ...)` or monitor another."
    return f"`{owner}` monitors `{name}`, which was not logged. {exist} {remedy}"


class Monitor:
    """Knows at which moment a metric is produced, hence when its value is that of the current weights.

    A metric that appears during the training batches is fresh at each of them, one that appears with validation only
    right after it, one that appears at the end of an epoch only there. All ranks hold the same view: rank zero's.
    """

    def __init__(self, name: str | None, owner: str) -> None:
        self.name = name
        self.owner = owner
        self.forget()

    def forget(self) -> None:
        """Begin a run: what was logged in another says nothing of this one."""
        self.moment: Moment | None = None
        self.validated_step = -1

    def state_dict(self) -> dict[str, Any]:
        """What was learned."""
        return {"moment": self.moment, "validated_step": self.validated_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Know what was learned before."""
        self.moment = state_dict.get("moment") or self.moment
        self.validated_step = state_dict.get("validated_step", -1)

    @property
    def is_settled(self) -> bool:
        """True if nothing has to be learned about the metric."""
        return self.moment is not None or self.name is None or self.name in ALWAYS_KNOWN

    def learn(self, trainer: Trainer, moment: Moment) -> bool:
        """Note the moment if the metric is there now for the first time; False if it is still missing."""
        if not self.is_settled and trainer.engine.broadcast(self.name in trainer.callback_metrics):
            self.moment = moment
        return self.is_settled

    def is_fresh(self, trainer: Trainer, at_epoch_end: bool = False) -> bool:
        """True if the value there now was computed with the weights as they are."""
        if self.moment == "validation":
            return self.validated_step == trainer.global_step
        if self.moment == "epoch":
            return at_epoch_end
        return self.is_settled

    def require(self, trainer: Trainer) -> None:
        """Raise on all ranks for a metric that nobody produced."""
        if not self.is_settled:
            raise MisconfigurationException(not_logged(self.owner, str(self.name), trainer.callback_metrics))
