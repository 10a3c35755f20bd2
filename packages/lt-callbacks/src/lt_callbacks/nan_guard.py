"""Keeps NaN and infinity out of the weights and tells where they came from."""

from typing import Any

import torch
from lt_interfaces import Callback, MisconfigurationException, Trainer, did_you_mean, rank_zero_warn
from torch import Tensor

from lt_callbacks.forward_watch import ForwardWatch
from lt_callbacks.gradient_norm_monitor import total_norm
from lt_callbacks.log_steps import has_logged

NEVER = 2**62
POLICIES = ("raise", "skip", "rollback")


class NaNGuard(Callback):
    """Notices a loss or gradients that are not finite, and names the first module that gives such numbers.

    The gradients of such a step are set to zero on the device, so the weights stay good (momentum and weight decay
    still act). The device is read in the steps that are logged; once something was seen, hooks on all modules watch
    the following steps until it comes again. Policy "raise" then ends the run with a `FloatingPointError`, "skip"
    warns once and logs `skipped_steps`. "rollback" goes on from the newest checkpoint of before the first such step,
    without the batches of that step, at most `max_rollbacks` times. Under a gradient scaler only the loss is looked
    at, as scaled gradients may overflow.
    """

    device_reads = 0

    def __init__(self, policy: str = "raise", max_rollbacks: int = 10) -> None:
        if policy not in POLICIES:
            raise MisconfigurationException(f"There is no `policy` {policy!r}. {did_you_mean(policy, POLICIES)}")
        self.policy = policy
        self.max_rollbacks = max_rollbacks
        self.rollbacks = 0
        self._batches: list[tuple[int, int, int]] = []
        self.skipped = 0
        self._told = False
        self._looked = self._saw = 0
        self._first = NEVER
        self._watch: ForwardWatch | None = None
        self._tally: tuple[Tensor, Tensor, Tensor] | None = None

    def state_dict(self) -> dict[str, Any]:
        return {"skipped": self.skipped}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.skipped = state_dict["skipped"]

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        self._looked, self._first, self._tally, self._told = trainer.global_step, NEVER, None, False

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if self.policy == "rollback":
            self._batches.append((trainer.global_step + 1, trainer.current_epoch, batch_idx))

    def on_before_backward(self, trainer: Trainer, pl_module: Any, loss: Tensor) -> None:
        loss = loss.detach()
        if self._tally is None:
            counts = torch.zeros(1, dtype=torch.int64, device=loss.device)
            self._tally = torch.zeros((), device=loss.device), counts, torch.full_like(counts, NEVER)
        self._tally[0].add_(loss.reshape(()), alpha=0)  # 0 * NaN and 0 * inf are NaN

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: Any, optimizer: Any) -> None:
        if self._tally is None:
            return
        loss, count, first = self._tally
        bad = ~torch.isfinite(loss)
        if getattr(trainer.engine, "scaler", None) is None:
            gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
            spoilt = ~torch.isfinite(total_norm(gradients, 2.0))
            for gradient in gradients:
                (gradient.to_local() if hasattr(gradient, "to_local") else gradient).masked_fill_(spoilt, 0.0)
            bad |= spoilt.to(bad.device)
        loss.zero_()
        count.add_(bad)
        torch.minimum(first, torch.where(bad, trainer.global_step + 1, NEVER), out=first)

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if (self._watch is not None or has_logged(trainer)) and trainer.global_step > self._looked:
            self._look(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        if self.policy == "rollback":  # not later: after the last epoch there is no going back
            self._look(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        self._look(trainer, pl_module)
        if self._watch is not None:
            self._tell(pl_module, self._watch)

    def teardown(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        if self._watch is not None:
            self._watch.stop()
            self._watch = None

    def _look(self, trainer: Trainer, pl_module: Any) -> None:
        """Read what was counted since the last time; all ranks come here at the same steps."""
        self._looked = trainer.global_step
        if self._tally is None:
            return
        self.device_reads += 1
        count, first = torch.cat(self._tally[1:]).tolist()
        self._tally[1].zero_()
        self._tally[2].fill_(NEVER)
        self._first = min(self._first, first)
        again = trainer.agree(count > 0)
        if again and self.policy == "rollback":
            self._roll_back(trainer)
        self._batches.clear()
        if again:
            self.skipped += count
            if self.policy == "skip":
                trainer.log_metrics({"skipped_steps": self.skipped})
        if self._watch is None:
            if again and not self._told:
                self._watch, self._saw = ForwardWatch(pl_module), trainer.global_step
        elif again or trainer.global_step - self._saw >= max(1, trainer.log_every_n_steps):
            self._tell(pl_module, self._watch)

    def _roll_back(self, trainer: Trainer) -> None:
        first = int(trainer.engine.all_reduce(torch.tensor(self._first), "min"))
        spoilt = [(epoch, batch_idx) for step, epoch, batch_idx in self._batches if step == first]
        self.rollbacks += 1
        self._first, self._looked = NEVER, -1
        self._batches.clear()
        told = f"The loss or its gradients were not finite in step {first}"
        if self.rollbacks > self.max_rollbacks:
            raise FloatingPointError(
                f"{told}, after {self.max_rollbacks} rollbacks. Lower the learning rate, or look at the data."
            )
        rank_zero_warn(f"{told}: going back to before it, and on without its batches.")
        trainer.roll_back(before_step=first, without=spoilt)

    def _tell(self, pl_module: Any, watch: ForwardWatch) -> None:
        self._watch, self._told = None, True
        watch.stop()
        culprit = watch.first()
        weights = [n for n, p in pl_module.named_parameters() if not bool(torch.isfinite(p.detach()).all())]
        step = f"step {self._first}" if self._first < NEVER else "a step of another rank"
        where = f"The first module whose output was not finite is {culprit}." if culprit else (
            "In the steps watched since then the output of every module was finite: it may be a single bad batch, or "
            "an operation of the loss or of the backward pass."
        )  # fmt: skip
        spoilt = f" Not finite are the weights {', '.join(f'`{n}`' for n in weights[:5])}." if weights else ""
        message = f"The loss or its gradients were not finite first in {step}. {where}{spoilt} "
        if self.policy == "raise":
            raise FloatingPointError(
                message + "Look at its inputs, lower the learning rate, or use `NaNGuard('skip')`."
            )
        rank_zero_warn(message + "Steps of this kind leave out their gradients; `skipped_steps` counts them.")
