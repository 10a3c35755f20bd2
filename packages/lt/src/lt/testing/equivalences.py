"""Properties that a module should have, each checked by training it twice and comparing every step."""

import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from lt_accel import seed_everything
from lt_interfaces import Callback

from lt.testing.recording import Recording, first_difference, first_distance, unlike
from lt.testing.runs import Make, Run, a_folder, bare, joined, some_batches, training_loader


class _Stopped(Exception):
    """The run ends here as if it had been killed."""


class _StopAt(Callback):
    """Save after a step, then stop without another word to anybody."""

    def __init__(self, step: int, path: Path) -> None:
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step >= self.step:
            trainer.save_checkpoint(self.path)
            raise _Stopped


def resume_equals_no_stop(
    make_model: Make, make_data: Make, stop_at: int | Iterable[int] = 3, *, seed: int = 0, **trainer_args: Any
) -> None:
    """A run that is stopped and resumed from its checkpoint goes on bit for bit as if it had not been stopped.

    Args:
        make_model: Gives a new module; called once for each run.
        make_data: Gives a new loader to train on, or a data module.
        stop_at: Number of optimizer steps after which to save and stop, or several, each tried by itself.
        seed: Set before modules and data are made. The resumed run trains from another.
        trainer_args: Flags of `lt.Trainer`; two epochs on the CPU without logs by default.

    Raises:
        AssertionError: Names the first step and tensor that differ.
    """
    with a_folder() as folder:
        peace = Run(make_model, make_data, folder, seed, **trainer_args)
        steps, end = peace.fit().steps, peace.state()
        for stop in [stop_at] if isinstance(stop_at, int) else stop_at:
            path = folder / f"{stop}.ckpt"
            done = _stopped(make_model, make_data, folder, seed, stop, path, **trainer_args)
            resumed = Run(make_model, make_data, folder, seed, **trainer_args)
            found = resumed.fit(ckpt_path=path, seed=seed + 1000).steps
            difference = first_difference(steps[done:], found, done) or _unlike_end(end, resumed.state())
            if difference:
                raise AssertionError(
                    f"Resumed after step {stop}, the run differs from the one without a stop {difference}. "
                    "All that a step depends on must be in the checkpoint: put it into a buffer, or into "
                    "`on_save_checkpoint`, or the `state_dict` of the callback or loader that holds it."
                )


def _stopped(make_model: Make, make_data: Make, folder: Path, seed: int, stop: int, path: Path, **flags: Any) -> int:
    """Train up to a step and save there; the number of recorded steps."""
    run = Run(make_model, make_data, folder, seed, extra_callbacks=[_StopAt(stop, path)], **flags)
    try:
        run.fit()
    except _Stopped:
        return len(run.recording.steps)
    raise ValueError(
        f"`stop_at` got {stop}, and training ends after {run.trainer.global_step} steps. Stop before its end."
    )


def accumulation_equals_one_batch(
    make_model: Make,
    make_data: Make,
    k: int = 2,
    *,
    steps: int = 3,
    tolerance: float = 1e-4,
    join: Callable[[list[Any]], Any] = joined,
    seed: int = 0,
    **trainer_args: Any,
) -> None:
    """Loss and gradients of `k` accumulated batches are those of one batch with all their samples.

    Dropout layers are switched off, since no two ways to batch draw the same masks.

    Args:
        make_model: Gives a new module; called once for each run.
        make_data: Gives a new loader to train on, or a data module; its first `k * steps` full batches are used.
        k: How many batches one step accumulates.
        steps: How many steps are compared; after each, both runs go on from the same weights.
        tolerance: How far a gradient may be off, as a share of the largest one of its tensor.
        join: Makes one batch of a list of batches; by default tensors are concatenated.
        seed: For both runs.
        trainer_args: Flags of `lt.Trainer`.

    Raises:
        AssertionError: Names the first step and tensor that differ.
    """
    with a_folder() as folder:
        one = Run(make_model, make_data, folder, seed, **{**trainer_args, "max_epochs": 1})
        batches = enough(some_batches(one.data, k * steps), k)
        bare(one.model)
        large = [join(batches[i : i + k]) for i in range(0, len(batches), k)]
        expected = one.fit(large)
        flags = {**trainer_args, "max_epochs": 1, "accumulate_grad_batches": k}
        many = Run(make_model, make_data, folder, seed, **flags)
        bare(many.model)
        found = many.fit(batches, follow=expected.steps)
        difference = unlike_start(expected, found) or first_distance(expected.steps, found.steps, tolerance)
        if difference:
            raise AssertionError(
                f"{k} accumulated batches differ from one batch of all their samples {difference}. "
                "The loss must be a mean over the samples, and no sample may depend on those it shares a batch with, "
                "as batch norm makes it; nor may the step draw random numbers."
            )


def enough(batches: list[Any], k: int) -> list[Any]:
    """As many of the batches as make whole groups of `k`."""
    if len(batches) < k:
        raise ValueError(f"{k} batches of one size are needed, and there are {len(batches)}. Give more data.")
    return batches[: len(batches) // k * k]


def unlike_start(expected: Recording, found: Recording) -> str | None:
    difference = unlike(expected.start, found.start)
    return f"before the first step, in the weights of {difference}" if difference else None


def _unlike_end(expected: Any, found: Any) -> str | None:
    difference = unlike(expected, found)
    return f"at the end, in {difference}" if difference else None


def fit_equals_hand_written_loop(
    make_model: Make,
    make_data: Make,
    loop: Callable[[Any, Any], Any] | None = None,
    *,
    seed: int = 0,
    max_epochs: int = 2,
    **trainer_args: Any,
) -> None:
    """`fit` gives bit for bit the batches, losses, gradients and weights of a loop that is written out.

    Args:
        make_model: Gives a new module; called once for each run.
        make_data: Gives a new loader to train on, or a data module.
        loop: Your loop, which trains the module that it is given on the loader; by default the textbook's for one
            optimizer, which calls `training_step` and no hook.
        seed: Set before each run.
        max_epochs: Epochs of `fit` and of the textbook's loop.
        trainer_args: Flags of `lt.Trainer`.

    Raises:
        AssertionError: Names the first step and tensor that differ.
    """
    with a_folder() as folder:
        fitted = Run(make_model, make_data, folder, seed, **{**trainer_args, "max_epochs": max_epochs})
        found = fitted.fit()
        by_hand = Run(make_model, make_data, folder, seed)
        loader = training_loader(by_hand.data)
        seed_everything(seed + 1, verbose=False)
        with warnings.catch_warnings(), Recording(by_hand.model) as expected:
            warnings.filterwarnings("ignore", message=".*records nothing, since no Trainer is attached")
            by_hand.model.train()
            if loop is None:
                _textbook(by_hand.model, loader, max_epochs)
            else:
                loop(by_hand.model, loader)
        difference = (
            unlike_start(expected, found)
            or first_difference(expected.steps, found.steps)
            or _unlike_end(dict(by_hand.model.state_dict()), dict(fitted.model.state_dict()))
        )
        if difference:
            raise AssertionError(
                f"The hand-written loop and `fit` differ {difference}. A hook of the module or a flag of the trainer "
                "does something that the loop does not, or one of them draws a random number more."
            )


def _textbook(model: Any, loader: Any, epochs: int) -> None:
    """One optimizer, at most one scheduler."""
    configured = model.configure_optimizers()
    optimizer, config = configured, None
    if isinstance(configured, Mapping):
        optimizer, config = configured["optimizer"], configured.get("lr_scheduler")
    elif isinstance(configured, tuple) and len(configured) == 2:
        [optimizer], [config] = configured
    elif isinstance(configured, list) and len(configured) == 1:
        [optimizer] = configured
    if not (isinstance(optimizer, torch.optim.Optimizer) and model.automatic_optimization):
        raise ValueError(
            f"The textbook's loop is for one optimizer, and `{type(model).__name__}` has several or steps them itself. "
            "Pass `loop=`, a function of the module and the loader."
        )
    config = config if isinstance(config, Mapping) else {"scheduler": config}
    scheduler, interval = config["scheduler"], config.get("interval", "epoch")
    for _ in range(epochs):
        for batch_idx, batch in enumerate(loader):
            output = model.training_step(batch, batch_idx)
            loss = output["loss"] if isinstance(output, Mapping) else output
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if scheduler is not None and interval == "step":
                scheduler.step()
        if scheduler is not None and interval == "epoch":
            scheduler.step()


def overfits_one_batch(
    make_model: Make, make_data: Make, *, steps: int = 100, below: float = 0.5, seed: int = 0, **trainer_args: Any
) -> None:
    """Trained on one batch again and again, the loss falls below a share of what it was.

    Args:
        make_model: Gives a new module.
        make_data: Gives a new loader to train on, or a data module; its first batch is used.
        steps: How often the module sees the batch.
        below: The share of the first loss that the last one has to be under.
        seed: For the run.
        trainer_args: Flags of `lt.Trainer`.

    Raises:
        AssertionError: With both losses.
    """
    with a_folder() as folder:
        run = Run(make_model, make_data, folder, seed, **{**trainer_args, "max_epochs": steps})
        run.model.configure_callbacks = list  # they may need validation
        recorded = [step.loss for step in run.fit(some_batches(run.data, 1)).steps]
        losses = [float(loss) for loss in recorded if loss is not None]
        if not losses:
            raise ValueError("`training_step` returned no loss. Return it, also where the module steps by hand.")
        if not losses[-1] < below * losses[0]:
            raise AssertionError(
                f"{len(losses)} steps on one batch took the loss from {losses[0]:.4g} to {losses[-1]:.4g}, not below "
                f"{below:.0%} of it. Look for weights without a gradient, a learning rate that is too small or too "
                "large, or targets that do not belong to the inputs."
            )
