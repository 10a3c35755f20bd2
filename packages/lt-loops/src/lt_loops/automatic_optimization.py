"""One training batch of a module that leaves the step to the trainer: forward, zero_grad, backward, step."""

from collections.abc import Callable
from typing import Any

import torch
from lt_interfaces import MisconfigurationException, is_overridden, rank_zero_warn
from torch import Tensor

from lt_loops.hooks import nothing
from lt_loops.optimization import Optimization, Outputs
from lt_loops.plain_optimizers import direct_step, is_watched, needs_closure, plain_zero_grad


class AutomaticOptimization(Optimization):
    """The tutorial's step. Whatever the module did not override is not called through the module."""

    def __init__(self, trainer: Any, module: Any, optimizers: list[Any]) -> None:
        super().__init__(trainer, module, optimizers)
        self.optimizer = optimizers[0] if optimizers else None
        self.custom_clip = is_overridden(module, "configure_gradient_clipping")
        self.custom_backward = is_overridden(module, "backward")
        self.custom_step = is_overridden(module, "optimizer_step")
        self.with_closure = self.custom_step or needs_closure(self.optimizer)
        self.distributed = trainer.world_size > 1
        self.window_size = 1
        self._checked = False
        self.run_zero_grad = trainer.clock.module(module, "optimizer_zero_grad", self.zero_grad)
        self.run_clip = trainer.clock.module(module, "configure_gradient_clipping", self.clip)
        self.refresh()

    def refresh(self) -> None:
        clock = self.trainer.clock
        direct = direct_step(self.optimizer) if self.engine.steps_plainly else None
        self.direct = direct and clock.strategy("optimizer_step", direct)
        self.own_zero_grad = is_overridden(self.module, "optimizer_zero_grad")
        self.custom_zero_grad = self.own_zero_grad or not plain_zero_grad(self.optimizer) or clock.is_profiling
        self.clips = self.custom_clip or bool(self.trainer.gradient_clip_val)

    def __call__(self, batch: Any, batch_idx: int) -> Outputs:
        progress = self.progress
        if progress.window == 0:
            self.window_size = self._size_of_window(batch_idx)
        steps_now = progress.window + 1 >= self.window_size
        if not steps_now:
            with self.engine.no_backward_sync(self.trainer.model):
                output = self.gradients(batch, batch_idx)
        elif self.with_closure:
            output = self._step_with_closure(batch, batch_idx)
        else:
            output = self.gradients(batch, batch_idx)
            if output is not None or self.window_size > 1:
                self.step()
        progress.window = 0 if steps_now else progress.window + 1
        if output is None or self.hooks.on_train_batch_end is nothing:
            return {}
        return self.outputs(output)

    def gradients(self, batch: Any, batch_idx: int) -> Any:
        """Forward, zero_grad at the start of a window, backward."""
        output = self.training_step(batch, batch_idx)
        loss = output if type(output) is Tensor else self.loss_of(output)
        if loss is None:
            self._skip_batch()
            return None
        if not self._checked:
            self._check(loss)
        if self.logs_returns:
            self.log_returned(output)
        if self.trainer.detect_anomaly and not torch.isfinite(loss):
            raise FloatingPointError(
                f"`training_step` returned a loss of {loss.item()} in batch {batch_idx} of epoch "
                f"{self.progress.epoch}. Look at that batch; a lower learning rate or `gradient_clip_val` often helps."
            )
        if self.window_size > 1:
            loss = loss / self.window_size
        hooks = self.hooks
        if self.progress.window == 0 and self.optimizer is not None:
            hooks.on_before_zero_grad(self.optimizer)
            if self.custom_zero_grad:
                self.run_zero_grad(batch_idx)
            else:
                for group in self.optimizer.param_groups:
                    for p in group["params"]:
                        p.grad = None
        hooks.on_before_backward(loss)
        self.run_backward(loss)
        hooks.on_after_backward()
        return output

    def step(self) -> None:
        """Unscale, hooks, clip, step, schedulers."""
        optimizer = self.optimizer
        if optimizer is None:
            return
        self._before_step()
        direct = self.direct
        if direct is None or is_watched(optimizer):
            stepped = self.engine_step(optimizer)
        else:
            direct(optimizer)
            optimizer._opt_called = True
            stepped = True
        if stepped:
            self.progress.step += 1
            if self.trainer.schedulers.on_step:
                self.trainer.schedulers.step(self.trainer.schedulers.on_step, self.progress.step)

    def _before_step(self) -> None:
        if self.scales:
            self.engine.unscale_gradients(self.optimizer)
        self.hooks.on_before_optimizer_step(self.optimizer)
        if self.clips:
            self.run_clip()

    def clip(self) -> None:
        """Clip as the trainer was told, or as the module does it."""
        trainer = self.trainer
        value, algorithm = trainer.gradient_clip_val, trainer.gradient_clip_algorithm
        if self.custom_clip:
            self.module.configure_gradient_clipping(self.optimizer, value, algorithm)
        elif algorithm == "value":
            self.engine.clip_gradients(trainer.model, self.optimizer, clip_val=value)
        else:
            self.engine.clip_gradients(trainer.model, self.optimizer, max_norm=value)

    def zero_grad(self, batch_idx: int) -> None:
        """By the module's hook or the optimizer's own method."""
        if self.own_zero_grad:
            self.module.optimizer_zero_grad(self.progress.epoch, batch_idx, self.optimizer)
        else:
            self.optimizer.zero_grad()  # type: ignore[union-attr]

    def _step_with_closure(self, batch: Any, batch_idx: int) -> Any:
        """For modules that override `optimizer_step` and optimizers that evaluate the loss themselves."""
        results: list[Any] = []

        def closure() -> Any:
            output = self.gradients(batch, batch_idx)
            results.append(output)
            return None if output is None else self.loss_of(output)

        self.stepped = False
        if self.custom_step:
            self.module.optimizer_step(self.progress.epoch, batch_idx, self.optimizers[0], closure)
        else:
            self.optimizer_step(self.optimizer, closure)
        if not results:
            raise MisconfigurationException(
                f"`{type(self.module).__name__}.optimizer_step` returned without the closure having run, so there are "
                "no gradients. Call `optimizer.step(closure=optimizer_closure)`."
            )
        if self.stepped:
            self.progress.step += 1
            self.trainer.schedulers.step(self.trainer.schedulers.on_step, self.progress.step)
        return results[-1]

    def optimizer_step(self, optimizer: Any, closure: Callable[[], Any] | None = None) -> Any:
        """As the module's `optimizer_step` calls it: gradients, hooks and clipping, then the step."""
        losses: list[Any] = []

        def ready() -> Any:
            with torch.enable_grad():
                losses.append(closure() if closure is not None else None)
            if closure is None or losses[-1] is not None:
                self._before_step()
            return losses[-1]

        if needs_closure(optimizer):
            self.stepped = self.engine_step(optimizer, ready)
        else:
            ready()
            self.stepped = (closure is None or losses[0] is not None) and self.engine_step(optimizer)
        return losses[0] if losses else None

    def finish_window(self) -> None:
        """The data ended inside an accumulation window: scale the gradients to what was there, then step."""
        if self.progress.window == 0 or self.optimizer is None:
            return
        scale = self.window_size / self.progress.window
        for p in (p for group in self.optimizer.param_groups for p in group["params"]):
            if p.grad is not None:
                p.grad.mul_(scale)
        self.progress.window = 0
        self.step()

    def gathered(self) -> dict[str, Any]:
        if self.progress.window == 0:
            return {}
        return {"size": self.window_size, "gradients": self._gradients()}

    def continue_window(self, gathered: dict[str, Any]) -> None:
        super().continue_window(gathered)
        self.window_size = gathered.get("size", self.window_size)

    def _size_of_window(self, batch_idx: int) -> int:
        factor = self.trainer.accumulate_grad_batches
        if factor == 1:
            return 1
        left = self.trainer.num_training_batches - batch_idx
        return int(max(1, min(factor, left)))

    def _skip_batch(self) -> None:
        if self.distributed:
            raise MisconfigurationException(
                "`training_step` returned None, and with several processes the others would wait for this batch. "
                "Return a loss from every batch, e.g. one multiplied by zero."
            )
        rank_zero_warn("`training_step` returned None: the batch is skipped. Return the loss to train on it.")
        if self.progress.window == 0 and self.optimizer is not None:
            self.zero_grad(0)

    def _check(self, loss: Tensor) -> None:
        self._checked = True
        if loss.numel() != 1:
            raise MisconfigurationException(
                f"`training_step` returned a loss of shape {tuple(loss.shape)}. "
                "Reduce it to one number, e.g. with `.mean()`."
            )
        if not loss.requires_grad and not self.custom_backward:
            raise MisconfigurationException(
                "`training_step` returned a loss without a gradient. "
                "Compute it from the module's parameters, without `.detach()`, `.item()` or `no_grad`."
            )
