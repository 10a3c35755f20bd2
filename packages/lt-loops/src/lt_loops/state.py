"""A run's state gathered into one checkpoint and put back; the layout is Lightning's, so each loads the other's."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from lt_checkpoint import load_weights
from lt_interfaces import MisconfigurationException, Stateful, is_overridden, rank_zero_info, rank_zero_warn

from lt_loops import resumption

WRITTEN_AS = "2.6.6"
"""Version of the layout under Lightning's key, so that Lightning reads the file without a migration."""


def gather(trainer: Any, weights_only: bool = False) -> dict[str, Any]:
    """Everything a restart needs: module, optimizers, schedulers, position, generators, callbacks, scaler."""
    module, progress = trainer.module, trainer.progress
    state: dict[str, Any] = {
        "epoch": progress.epoch,
        "global_step": progress.step,
        "pytorch-lightning_version": WRITTEN_AS,
        "state_dict": module.state_dict(),
        "loops": _loops(trainer),
    }
    if not weights_only:
        state["callbacks"] = {key: s for key, cb in keyed(trainer.callbacks) if (s := _state_of(cb))}
        state["optimizer_states"] = [o.state_dict() for o in trainer.optimizers]
        state["lr_schedulers"] = [c.scheduler.state_dict() for c in trainer.lr_scheduler_configs]
        if engine_state := trainer.engine.state_dict():
            state["MixedPrecision"] = engine_state
    _add_hparams(state, module, "")
    datamodule = trainer.datamodule
    if datamodule is not None:
        _add_hparams(state, datamodule, "datamodule_")
        if data_state := _state_of(datamodule):
            state[type(datamodule).__qualname__] = data_state
    if not weights_only:
        state["lt"] = resumption.capture(trainer)
        trainer.hooks.on_save_checkpoint(state)
    elif hasattr(module, "on_save_checkpoint"):
        module.on_save_checkpoint(state)
    return state


def keyed(callbacks: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    """Stateful callbacks with the name of their state; the second of the same name is "name#2"."""
    seen: Counter[str] = Counter()
    for callback in callbacks:
        if is_overridden(callback, "state_dict"):
            key = getattr(callback, "state_key", type(callback).__qualname__)
            seen[key] += 1
            yield key if seen[key] == 1 else f"{key}#{seen[key]}", callback


def _state_of(obj: Any) -> dict[str, Any]:
    return obj.state_dict() if isinstance(obj, Stateful) else {}


def _add_hparams(state: dict[str, Any], owner: Any, prefix: str) -> None:
    name = getattr(owner, "_hparams_name", None)
    if name:
        state[prefix + "hparams_name"] = name
        state[prefix + "hyper_parameters"] = owner.hparams_to_save()


def _counts(total: int, current: int | None = None, **extra: Any) -> dict[str, Any]:
    """One of Lightning's progress dictionaries with everything ready, started, processed and completed."""
    names = ("ready", "completed", "started", "processed")
    current = total if current is None else current
    return {"total": dict.fromkeys(names, total), "current": dict.fromkeys(names, current), **extra}


def _two(total: int, names: tuple[str, ...] = ("ready", "completed")) -> dict[str, Any]:
    return {"total": dict.fromkeys(names, total), "current": dict.fromkeys(names, total)}


def _loops(trainer: Any) -> dict[str, Any]:
    progress, fit = trainer.progress, trainer.fit_loop
    ended = fit.at in ("epoch_end", "decided")
    epochs = _counts(progress.epoch + (fit.at != "start"))
    if fit.at != "start":
        for part in epochs.values():
            part["completed"] = progress.epoch
            if not ended:
                part["processed"] = progress.epoch
    automatic = getattr(trainer.module, "automatic_optimization", True)
    batch = _counts(
        fit.batches_before + progress.batch, progress.batch, is_last_batch=progress.batch >= fit.num_batches
    )
    steps = (progress.step, 0) if automatic else (0, progress.step)
    idle = {"state_dict": {}, "batch_progress": _counts(0, is_last_batch=False)}
    return {
        "fit_loop": {
            "state_dict": {},
            "epoch_loop.state_dict": {"_batches_that_stepped": progress.step},
            "epoch_loop.batch_progress": batch,
            "epoch_loop.scheduler_progress": _two(progress.step),
            "epoch_loop.automatic_optimization.state_dict": {},
            "epoch_loop.automatic_optimization.optim_progress": {
                "optimizer": {"step": _two(steps[0]), "zero_grad": _two(steps[0], ("ready", "completed", "started"))}
            },
            "epoch_loop.manual_optimization.state_dict": {},
            "epoch_loop.manual_optimization.optim_step_progress": _two(steps[1]),
            "epoch_loop.val_loop.state_dict": {},
            "epoch_loop.val_loop.batch_progress": _counts(0, is_last_batch=False),
            "epoch_progress": epochs,
        },
        "validate_loop": idle,
        "test_loop": idle,
        "predict_loop": {"state_dict": {}, "batch_progress": _counts(0)},
    }


def restore_module(trainer: Any, checkpoint: dict[str, Any], path: str, weights_only: bool = False) -> None:
    """Weights, and unless they alone are wanted the data module's state and the callbacks' state."""
    module = trainer.module
    strict = getattr(module, "strict_loading", None)
    left_out = load_weights(module, checkpoint["state_dict"], True if strict is None else strict, path)
    if left_out:
        rank_zero_info(left_out)
    if weights_only:
        return
    datamodule = trainer.datamodule
    if datamodule is not None and type(datamodule).__qualname__ in checkpoint:
        datamodule.load_state_dict(checkpoint[type(datamodule).__qualname__])
    if "callbacks" in checkpoint:  # not a file of weights alone, of which callbacks were not told
        trainer.hooks.on_load_checkpoint(checkpoint)
    if trainer.fn != "fit":
        return
    states = dict(checkpoint.get("callbacks", {}))
    for key, callback in keyed(trainer.callbacks):
        if key in states:
            callback.load_state_dict(states.pop(key))
    if states:
        rank_zero_warn(
            f"The checkpoint `{path}` holds the state of callbacks that are not there now: {sorted(states)}. "
            "Pass them to the trainer if they should go on from there."
        )


def restore_training(trainer: Any, checkpoint: dict[str, Any], path: str) -> None:
    """Optimizers, schedulers, scaler, position and generators, so that `fit` continues where the file was written."""
    for key, mine in (("optimizer_states", trainer.optimizers), ("lr_schedulers", trainer.lr_scheduler_configs)):
        if key not in checkpoint:
            raise MisconfigurationException(
                f"The checkpoint {path} has no `{key}`: it holds weights only and training cannot continue from it. "
                "Load it with `load_from_checkpoint` and start a new fit."
            )
        if len(checkpoint[key]) != len(mine):
            raise MisconfigurationException(
                f"The checkpoint {path} holds {len(checkpoint[key])} of `{key}`, and `configure_optimizers` made "
                f"{len(mine)}. Make as many as when it was written."
            )
    for optimizer, saved in zip(trainer.optimizers, checkpoint["optimizer_states"], strict=True):
        optimizer.load_state_dict(saved)
    for config, saved in zip(trainer.lr_scheduler_configs, checkpoint["lr_schedulers"], strict=True):
        config.scheduler.load_state_dict(saved)
    if "MixedPrecision" in checkpoint:
        trainer.engine.load_state_dict(checkpoint["MixedPrecision"])
    if "lt" in checkpoint:
        resumption.restore(trainer, checkpoint["lt"])
    else:
        _restore_lightnings(trainer, checkpoint)
    if trainer.progress.step:
        for optimizer in trainer.optimizers:
            optimizer._opt_called = True  # torch warns of a schedule before any step; these were before the restart
    fit = trainer.fit_loop
    if fit.max_epochs not in (None, -1) and trainer.progress.epoch > fit.max_epochs:
        raise MisconfigurationException(
            f"The checkpoint {path} was written in epoch {trainer.progress.epoch}, and `max_epochs={fit.max_epochs}`. "
            "Raise `max_epochs` to train on."
        )


def _restore_lightnings(trainer: Any, checkpoint: dict[str, Any]) -> None:
    """The position in a file that Lightning wrote; it keeps no generators."""
    progress, loops = trainer.progress, checkpoint.get("loops", {}).get("fit_loop", {})
    epochs = loops.get("epoch_progress", {}).get("current", {})
    batch = loops.get("epoch_loop.batch_progress", {})
    by_hand = loops.get("epoch_loop.manual_optimization.optim_step_progress", {}).get("total", {}).get("completed", 0)
    progress.step = batch.get("total", {}).get("ready", 0) if by_hand else checkpoint.get("global_step", 0)
    progress.epoch = epochs.get("processed", checkpoint.get("epoch", 0))
    within = batch.get("current", {}).get("ready", 0)
    progress.batch = 0 if batch.get("is_last_batch", True) else within
    trainer.fit_loop.at = "ready" if progress.batch else "start"
    trainer.fit_loop.batches_before = batch.get("total", {}).get("ready", 0) - progress.batch
