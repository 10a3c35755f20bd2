"""Finds a learning rate to start with: trains a few steps at ever higher rates and looks where the loss falls."""

import math
from typing import Any, ClassVar

import torch
from lt_interfaces import Callback, MisconfigurationException, did_you_mean, rank_zero_info

from lt_callbacks.learning_rate_curve import LearningRateCurve
from lt_callbacks.tuned_attribute import TunedAttribute

MODES = ("exponential", "linear")
SMOOTHING = 0.98


class LearningRateFinder(Callback):
    """Sets the module's `lr` or `learning_rate` at the start of fit to what a range test suggests.

    The test leaves no trace but the rate: weights and random numbers are as they were. Call `lr_find` from other hooks
    of a subclass to look again later. A run that is resumed keeps the rate that it had.

    Args:
        min_lr: The first rate.
        max_lr: The last rate.
        num_training_steps: Optimizer steps, one for each rate.
        mode: "exponential" raises the rate by equal factors, "linear" by equal steps.
        early_stop_threshold: Ends the test once the smoothed loss is this many times the best; None never does.
        update_attr: False only looks; see `optimal_lr`.
        attr_name: Where the module or its `hparams` keep the rate, if not as `lr` or `learning_rate`; dots go deeper.
    """

    priority: ClassVar[int] = -1

    def __init__(
        self,
        min_lr: float = 1e-8,
        max_lr: float = 1,
        num_training_steps: int = 100,
        mode: str = "exponential",
        early_stop_threshold: float | None = 4.0,
        update_attr: bool = True,
        attr_name: str = "",
    ) -> None:
        if mode.lower() not in MODES:
            raise ValueError(f"`mode` must be 'exponential' or 'linear', got {mode!r}. {did_you_mean(mode, MODES)}")
        if not 0 < min_lr < max_lr:
            raise ValueError(f"`min_lr={min_lr}` and `max_lr={max_lr}` span nothing. Give 0 < `min_lr` < `max_lr`.")
        if num_training_steps < 1:
            raise ValueError(f"`num_training_steps` must be at least 1, got {num_training_steps}. 100 is usual.")
        self._curve = (mode.lower(), min_lr, max_lr, num_training_steps)
        self._early_stop_threshold = early_stop_threshold
        self._update_attr, self._attr_name = update_attr, attr_name
        self.optimal_lr: LearningRateCurve | None = None
        self._rate: float | None = None
        self._resumed = False

    def state_dict(self) -> dict[str, Any]:
        return {"lr": self._rate}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._rate, self._resumed = state_dict["lr"], True

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        if stage == "fit" and self._update_attr:
            self.attribute(pl_module)

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        if self._resumed and self._rate is not None and self._update_attr:
            self.attribute(pl_module).set(self._rate)
            trainer.set_up_optimizers()
        if not self._resumed:
            self.lr_find(trainer, pl_module)
            if self._rate is not None and self._update_attr:
                trainer.set_up_optimizers()  # schedulers, too, start from the new rate
        self._resumed = False

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        self._resumed = False

    def lr_find(self, trainer: Any, pl_module: Any) -> None:
        """Run the test now; sets `optimal_lr`, and the rate unless told otherwise."""
        if trainer.fast_dev_run:
            rank_zero_info("No learning rate is looked for in a `fast_dev_run`.")
            return
        if len(trainer.optimizers) != 1:
            raise MisconfigurationException(
                f"`configure_optimizers` returned {len(trainer.optimizers)} optimizers, and a learning rate is looked "
                "for with one. Return one, or set the rates yourself."
            )
        attribute = self.attribute(pl_module) if self._update_attr else None
        self.optimal_lr = curve = LearningRateCurve(*self._curve)
        trainer.trial(steps=curve.num_training, callbacks=_Sweep(curve, self._early_stop_threshold))
        if attribute is not None and (rate := curve.suggestion()) is not None:
            self._rate = rate
            attribute.set(rate)
            _take(trainer, rate)
            rank_zero_info(f"`{attribute.name}` is {rate:.3g} now, after {len(curve.results['lr'])} steps of trying.")

    def attribute(self, module: Any) -> TunedAttribute:
        """Where the module keeps the rate; an AttributeError with the nearest names if nowhere."""
        names = (self._attr_name,) if self._attr_name else ("lr", "learning_rate")
        attribute = TunedAttribute(names, module)
        if not attribute.exists:
            raise AttributeError(attribute.missing("attr_name"))
        return attribute


class _Sweep:
    """Sets the rate of each step and notes the loss."""

    def __init__(self, curve: LearningRateCurve, threshold: float | None) -> None:
        self.curve, self.threshold = curve, threshold
        self.average, self.best = 0.0, math.inf
        self.losses: list[torch.Tensor] = []

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
        set_rate(trainer.optimizers[0], self.curve.rate(trainer.global_step))

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        loss = outputs.get("loss") if outputs else None
        if isinstance(loss, torch.Tensor):
            self.losses.append(loss.detach().float())
        rates, smoothed = self.curve.results["lr"], self.curve.results["loss"]
        if trainer.global_step == len(rates):
            return
        mean = torch.stack(self.losses).mean() if self.losses else torch.tensor(math.nan)
        if trainer.world_size > 1:
            mean = trainer.engine.all_reduce(mean.to(trainer.engine.device))
        self.losses = []
        self.average = SMOOTHING * self.average + (1 - SMOOTHING) * mean.item()
        now = self.average / (1 - SMOOTHING ** (len(rates) + 1))
        rates.append(self.curve.rate(len(rates)))
        smoothed.append(now)
        if self.threshold is not None and (now > self.threshold * self.best or not math.isfinite(now)):
            trainer.should_stop = True
        self.best = min(self.best, now)


def set_rate(optimizer: Any, rate: float) -> None:
    """Give all of an optimizer's parameters one rate."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def _take(trainer: Any, rate: float) -> None:
    """The optimizer and the schedulers that exist go on from the rate."""
    optimizer = trainer.optimizers[0]
    set_rate(optimizer, rate)
    for group in optimizer.param_groups:
        if "initial_lr" in group:
            group["initial_lr"] = rate
    for config in trainer.lr_scheduler_configs:
        for scheduler in (config.scheduler, *getattr(config.scheduler, "_schedulers", ())):
            if hasattr(scheduler, "base_lrs"):
                scheduler.base_lrs = [rate] * len(scheduler.base_lrs)
