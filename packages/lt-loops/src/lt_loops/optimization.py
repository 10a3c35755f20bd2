"""One training batch: forward, zero_grad, backward, step; by itself or by the module's own hand."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from lt_interfaces import MisconfigurationException, is_overridden, rank_zero_warn
from torch import Tensor
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks

from lt_loops.hooks import nothing, trimmed
from lt_loops.optimizers import LightningOptimizer
from lt_loops.snapshot import local_part

Outputs = dict[str, Any]


class Optimization:
    """What automatic and manual optimization share: the optimizers, the step itself and the hooks around it."""

    def __init__(self, trainer: Any, module: Any, optimizers: list[Any]) -> None:
        self.trainer, self.module = trainer, module
        self.engine, self.hooks, self.progress = trainer.engine, trainer.hooks, trainer.progress
        self.scales = trainer.engine.scaler is not None
        self.stepped = False
        step = trimmed(trainer.engine.bind(trainer.model, "training_step"), 2)
        self.training_step = trainer.clock.strategy("training_step", step)
        run_backward = self._own_backward if is_overridden(module, "backward") else self.engine.backward
        self.run_backward = trainer.clock.strategy("backward", run_backward)
        self.engine_step = trainer.clock.strategy("optimizer_step", self.engine.optimizer_step)
        self.optimizers = [LightningOptimizer(o, self.optimizer_step) for o in optimizers]
        self.logs_returns = not hasattr(module, "log")

    def optimizer_step(self, optimizer: Any, closure: Callable[[], Any] | None = None) -> Any:
        """Step through the engine, and remember that it happened."""
        raise NotImplementedError

    def _own_backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        self.module.backward(self.engine.scale_loss(loss), *args, **kwargs)

    def refresh(self) -> None:
        """Look again at what hooks may have changed on the optimizer; once an epoch and after validation."""

    def finish_window(self) -> None:
        """The data ended; step what an open accumulation window has gathered."""

    def gathered(self) -> dict[str, Any]:
        """What an open accumulation window has gathered so far, to be saved; empty if none is open."""
        return {}

    def continue_window(self, gathered: dict[str, Any]) -> None:
        """Go on inside a saved window."""
        parameters = dict(self.module.named_parameters())
        for name, gradient in gathered.get("gradients", {}).items():
            p = parameters[name]
            p.grad = torch.zeros_like(p)
            local_part(p.grad).copy_(gradient)

    def _gradients(self) -> dict[str, Tensor]:
        return {n: local_part(p.grad) for n, p in self.module.named_parameters() if p.grad is not None}

    def loss_of(self, output: Any) -> Tensor | None:
        """The loss in what `training_step` returned."""
        if isinstance(output, Tensor):
            loss = output
        elif isinstance(output, Mapping) and isinstance(output.get("loss"), Tensor):
            loss = output["loss"]
        elif output is None:
            return None
        else:
            keys = f" with the keys {sorted(output)}" if isinstance(output, Mapping) else ""
            raise MisconfigurationException(
                f"`training_step` returned a `{type(output).__name__}`{keys}. "
                "Return the loss as a tensor, a dict with the tensor under `loss`, or None to skip the batch."
            )
        return loss

    def outputs(self, output: Any) -> Outputs:
        """What the batch hooks see: the loss as the step returned it, detached, and whatever came with it."""
        if isinstance(output, Tensor):
            return {"loss": output.detach()}
        if isinstance(output, Mapping):
            return {k: v.detach() if k == "loss" and isinstance(v, Tensor) else v for k, v in output.items()}
        return {}

    def log_returned(self, output: Any) -> None:
        """For modules without `log`: the numbers that the step returned are its log."""
        values = output if isinstance(output, Mapping) else {"loss": output}
        for name, value in values.items():
            if isinstance(value, (int, float)) or (isinstance(value, Tensor) and value.numel() == 1):
                self.trainer.recorder.log(name, value, prog_bar=name == "loss")


class ManualOptimization(Optimization):
    """The module calls `zero_grad`, `manual_backward` and `step`; the trainer counts one step per batch."""

    def __call__(self, batch: Any, batch_idx: int) -> Outputs:
        self.stepped = False
        output = self.training_step(batch, batch_idx)
        self.progress.step += self.stepped
        if output is None:
            return {}
        if isinstance(output, (Tensor, Mapping)):
            return self.outputs(output)
        raise MisconfigurationException(
            f"`training_step` returned a `{type(output).__name__}`. "
            "With manual optimization return None, a tensor or a dict."
        )

    def optimizer_step(self, optimizer: Any, closure: Callable[[], Any] | None = None) -> Any:
        results: list[Any] = []

        def gradients() -> Any:
            with torch.enable_grad():
                results.append(closure() if closure is not None else None)
            return results[-1]

        inner = gradients if closure is not None and _needs_closure(optimizer) else None
        if closure is not None and inner is None:
            gradients()
        if self.scales:
            self.engine.unscale_gradients(optimizer)
        self.hooks.on_before_optimizer_step(optimizer)
        if self.engine_step(optimizer, inner):
            self.stepped = True
        return results[0] if results else None

    def gathered(self) -> dict[str, Any]:
        """All gradients there are: whether the module goes on adding to them is its own affair."""
        return {"gradients": self._gradients()}

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """`manual_backward`, scaled where the precision scales."""
        self.hooks.on_before_backward(loss)
        self.run_backward(loss, *args, **kwargs)
        self.hooks.on_after_backward()


class AutomaticOptimization(Optimization):
    """The tutorial's step. Whatever the module did not override is not called through the module."""

    def __init__(self, trainer: Any, module: Any, optimizers: list[Any]) -> None:
        super().__init__(trainer, module, optimizers)
        self.optimizer = optimizers[0] if optimizers else None
        self.custom_clip = is_overridden(module, "configure_gradient_clipping")
        self.custom_backward = is_overridden(module, "backward")
        self.custom_step = is_overridden(module, "optimizer_step")
        self.with_closure = self.custom_step or _needs_closure(self.optimizer)
        self.distributed = trainer.world_size > 1
        self.window_size = 1
        self._checked = False
        self.run_zero_grad = trainer.clock.module(module, "optimizer_zero_grad", self.zero_grad)
        self.run_clip = trainer.clock.module(module, "configure_gradient_clipping", self.clip)
        self.refresh()

    def refresh(self) -> None:
        clock = self.trainer.clock
        direct = _direct_step(self.optimizer) if self.engine.steps_plainly else None
        self.direct = direct and clock.strategy("optimizer_step", direct)
        self.own_zero_grad = is_overridden(self.module, "optimizer_zero_grad")
        self.custom_zero_grad = self.own_zero_grad or not _plain_zero_grad(self.optimizer) or clock.is_profiling
        self.clips = self.custom_clip or bool(self.trainer.gradient_clip_val)

    def __call__(self, batch: Any, batch_idx: int) -> Outputs:
        progress = self.progress
        if progress.window == 0:
            self.window_size = self._size_of_window(batch_idx)
        progress.window += 1
        steps_now = progress.window >= self.window_size
        if not steps_now:
            with self.engine.no_backward_sync(self.trainer.model):
                output = self.gradients(batch, batch_idx)
        elif self.with_closure:
            output = self._step_with_closure(batch, batch_idx)
        else:
            output = self.gradients(batch, batch_idx)
            if output is not None or self.window_size > 1:
                self.step()
        if steps_now:
            progress.window = 0
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
        if self.progress.window == 1 and self.optimizer is not None:
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
        if direct is None or _is_watched(optimizer):
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
            self.progress.window = max(1, self.progress.window)
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

        if _needs_closure(optimizer):
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
        if self.progress.window == 1 and self.optimizer is not None:
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


def _plain_zero_grad(optimizer: Any) -> bool:
    return (
        isinstance(optimizer, torch.optim.Optimizer)
        and type(optimizer).zero_grad is torch.optim.Optimizer.zero_grad
        and "zero_grad" not in vars(optimizer)
    )


def _needs_closure(optimizer: Any) -> bool:
    """True for optimizers such as LBFGS, whose `step` cannot do without."""
    if optimizer is None:
        return False
    step = type(optimizer).step
    step = getattr(step, "__wrapped__", step)
    names = step.__code__.co_varnames[: step.__code__.co_argcount] if hasattr(step, "__code__") else ()
    while hasattr(step, "__wrapped__"):
        step = step.__wrapped__
        names = step.__code__.co_varnames[: step.__code__.co_argcount]
    return "closure" in names and len(step.__defaults__ or ()) == 0


def _direct_step(optimizer: Any) -> Callable[[Any], Any] | None:
    """The step without torch's profiler range and hook chains; a third of a small step's time.

    Only where nobody wrapped `step` but torch itself (`Optimizer` for its hooks, a scheduler for its count).
    """
    if not isinstance(optimizer, torch.optim.Optimizer):
        return None
    step = type(optimizer).step
    own = vars(optimizer).get("step")
    if own is not None and not (hasattr(own, "_wrapped_by_lr_sched") and own.__wrapped__ is step):
        return None
    if not getattr(step, "hooked", False):
        return None
    inner: Callable[[Any], Any] | None = getattr(step, "__wrapped__", None)
    return inner


def _is_watched(optimizer: Any) -> bool:
    """True while a profiler runs or a step hook is registered: then every step takes torch's long way."""
    return bool(
        optimizer._optimizer_step_pre_hooks
        or optimizer._optimizer_step_post_hooks
        or _global_optimizer_pre_hooks
        or _global_optimizer_post_hooks
        or torch.autograd.profiler._is_profiler_enabled
    )
