"""What is wrong with a module, its data and the flags of the trainer can be told before anything runs."""

import inspect
from typing import Any

import torch
from lt_interfaces import MisconfigurationException, is_overridden, rank_zero_warn

from lt_loops.hooks import check_names

STEP = {"fit": "training_step", "validate": "validation_step", "test": "test_step"}


def check_module(model: Any, fn: str) -> None:
    """Refuse what is no module, or lacks what the entry point calls."""
    if isinstance(model, torch.nn.parallel.DistributedDataParallel):
        raise TypeError(
            f"`trainer.{fn}` got a module inside a `DistributedDataParallel`. Pass its `.module`: `strategy='ddp'` "
            "wraps it."
        )
    if isinstance(model, type):
        raise TypeError(f"`trainer.{fn}` got the class `{model.__name__}` as the model. Pass an instance of it.")
    if not isinstance(model, torch.nn.Module):
        raise TypeError(
            f"`trainer.{fn}` got a `{type(model).__name__}` as the model. Pass a `LightningModule` or an "
            f"`nn.Module` with a `{STEP.get(fn, 'forward')}`."
        )
    steps = (STEP[fn],) if fn in STEP else ()
    check_names(model, (*steps, "configure_optimizers") if fn == "fit" else steps)
    _check_steps(model, fn)


def check_data(trainer: Any, fn: str) -> None:
    """Refuse to run on no data, and to validate without a step for it."""
    loop: Any = {"fit": trainer.fit_loop, "validate": trainer.validate_loop, "test": trainer.test_loop}.get(
        fn, trainer.predict_loop
    )
    if not loop.source.is_defined:
        name = {"fit": "train", "validate": "val"}.get(fn, fn)
        raise MisconfigurationException(
            f"`trainer.{fn}` has no data. Pass a loader, or define `{name}_dataloader` on the module or a data module."
        )
    if fn != "fit":
        return
    source = trainer.validate_loop.source
    if source.is_defined and not is_overridden(trainer.module, "validation_step") and trainer.limit_val_batches:
        fact = f"There is a validation loader, and `{type(trainer.module).__name__}` has no `validation_step`."
        if source.is_given:
            raise MisconfigurationException(f"{fact} Define it, or leave the loader out.")
        rank_zero_warn(f"{fact} Nothing will be validated; `limit_val_batches=0` says so too.")


def check_flags(trainer: Any, fn: str) -> None:
    """Refuse flags that a module which steps by hand would not follow."""
    if fn != "fit" or getattr(trainer.module, "automatic_optimization", True):
        return
    wrong = [f"`gradient_clip_val={trainer.gradient_clip_val}`"] if trainer.gradient_clip_val else []
    wrong += (
        [f"`accumulate_grad_batches={trainer.accumulate_grad_batches}`"] if trainer.accumulate_grad_batches > 1 else []
    )
    if wrong:
        raise MisconfigurationException(
            f"{' and '.join(wrong)} of the trainer and manual optimization of the module contradict each other. "
            "Leave the flag out and do it in `training_step`"
            f"{', e.g. with `self.clip_gradients`' if trainer.gradient_clip_val else ''}."
        )


def _check_steps(model: Any, fn: str) -> None:
    """Refuse a prediction without anything to call, and a kind of step that is not there."""
    can_predict = is_overridden(model, "predict_step") or type(model).forward is not torch.nn.Module.forward
    if fn == "predict" and not can_predict:
        raise MisconfigurationException(
            f"`{type(model).__name__}` has no `predict_step` and no `forward`. Define one of them."
        )
    takes = inspect.signature(model.training_step).parameters if fn == "fit" else {}
    if "optimizer_idx" in takes:
        raise MisconfigurationException(
            f"`{type(model).__name__}.training_step` takes `optimizer_idx`, and a step is for all optimizers. Set "
            "`self.automatic_optimization = False` and step them by hand."
        )
    if "dataloader_iter" in takes:
        raise MisconfigurationException(
            f"`{type(model).__name__}.training_step` takes `dataloader_iter`, and a step gets one batch here. "
            "Write `training_step(self, batch, batch_idx)`, or a loop of your own on `Fabric`."
        )


def warn_about_frozen_modes(module: Any) -> None:
    """Modules left in evaluation mode train differently; say so once."""
    count = sum(not m.training for m in module.modules())
    if count:
        rank_zero_warn(
            f"Submodules in evaluation mode at the start of training: {count}. "
            "If that is not meant, call `.train()` on the module first."
        )
