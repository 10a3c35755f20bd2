"""The hook table: each hook as one call, resolved once from the module, the data and the callbacks.

A hook that nobody overrides becomes a shared no-op, one that a single party overrides the bound method itself, the
others a small fan-out. A profiler wraps here and costs nothing when there is none.
"""

import inspect
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from lt_interfaces import CALLBACK_HOOKS, MODULE_HOOKS, MisconfigurationException, ModuleHooks, is_overridden, nearest

Call = Callable[..., Any]
Wrap = Callable[[str, Call], Call]

STEPS = ("training_step", "validation_step", "test_step", "predict_step", "configure_optimizers")
LOADERS = ("train_dataloader", "val_dataloader", "test_dataloader", "predict_dataloader")
STEERING = (
    "configure_callbacks", "configure_gradient_clipping", "optimizer_step", "optimizer_zero_grad", "lr_scheduler_step",
    "on_before_batch_transfer", "transfer_batch_to_device", "on_after_batch_transfer", "on_validation_model_zero_grad",
    "on_validation_model_eval", "on_validation_model_train", "on_test_model_eval", "on_test_model_train",
    "on_predict_model_eval", "on_predict_model_train", "on_exception", "on_sanity_check_start", "on_sanity_check_end",
)  # fmt: skip
REMOVED = {
    "training_epoch_end": "on_train_epoch_end",
    "validation_epoch_end": "on_validation_epoch_end",
    "test_epoch_end": "on_test_epoch_end",
    "predict_epoch_end": "on_predict_epoch_end",
    "training_step_end": "on_train_batch_end",
    "validation_step_end": "on_validation_batch_end",
    "test_step_end": "on_test_batch_end",
}
VOCABULARY = frozenset((*MODULE_HOOKS, *CALLBACK_HOOKS, *STEPS, *LOADERS, *STEERING))


def nothing(*_: Any) -> None:
    """Stands in the table for every hook that nobody overrides."""


class Hooks(ModuleHooks):
    """One attribute per hook, typed as what it dispatches to, so that a misspelt call site does not type-check."""

    def on_sanity_check_start(self) -> None:
        """Callbacks only."""

    def on_sanity_check_end(self) -> None:
        """Callbacks only."""

    def on_train_epoch_decision(self) -> None:
        """The `on_train_epoch_end` of callbacks that decide on the epoch's metrics, which are final by now."""

    def on_exception(self, exception: BaseException) -> None:
        """Callbacks, then the data module."""

    def resolve(self, trainer: Any, module: Any, datamodule: Any, wrap: Wrap | None = None) -> None:
        """Fill the table, in place, so that whoever holds it sees callbacks that were added later."""
        deciders = [cb for cb in trainer.callbacks if getattr(cb, "decides_on_epoch", False)]
        others = [cb for cb in trainer.callbacks if cb not in deciders]
        for name in (*MODULE_HOOKS, "on_sanity_check_start", "on_sanity_check_end", "on_exception"):
            callbacks = others if name == "on_train_epoch_end" else trainer.callbacks
            parties = _parties(name, trainer, callbacks, module, datamodule)
            setattr(self, name, _one_call(name, parties, wrap))
        decisions = _parties("on_train_epoch_end", trainer, deciders, None, None)
        self.on_train_epoch_decision = _one_call("on_train_epoch_end", decisions, wrap)  # type: ignore[method-assign]


def _parties(
    name: str, trainer: Any, callbacks: Iterable[Any], module: Any, datamodule: Any
) -> Iterable[tuple[str, Any, Call]]:
    """The kind and the object behind each call of one hook, and the call; in order: data module, callbacks, module."""
    if name in ("setup", "teardown", "prepare_data") and is_overridden(datamodule, name):
        yield "LightningDataModule", datamodule, getattr(datamodule, name)
    for cb in callbacks if name in CALLBACK_HOOKS else ():
        if is_overridden(cb, name):
            yield "Callback", cb, partial(getattr(cb, name), trainer, trainer.module)
    if name != "on_load_checkpoint" and is_overridden(module, name):
        yield "LightningModule", module, getattr(module, name)
    if name == "on_exception" and is_overridden(datamodule, name):
        yield "LightningDataModule", datamodule, datamodule.on_exception


def _action(kind: str, party: Any, hook: str) -> str:
    """The name under which a profiler sees a hook."""
    who = getattr(party, "state_key", type(party).__qualname__) if kind == "Callback" else type(party).__name__
    return f"[{kind}]{who}.{hook}"


def _one_call(name: str, parties: Iterable[tuple[str, Any, Call]], wrap: Wrap | None) -> Call:
    fitted = [(kind, party, _fitted(call, name)) for kind, party, call in parties]
    calls = [wrap(_action(kind, party, name), call) if wrap else call for kind, party, call in fitted]
    if not calls:
        return nothing
    if len(calls) == 1:
        return calls[0]

    def fan_out(*args: Any) -> Any:
        answer = None
        for call in calls:
            said = call(*args)
            answer = said if answer is None else answer
        return answer

    return fan_out


def positional(call: Call) -> float:
    """How many positional arguments a callable takes; infinite with `*args`."""
    try:
        parameters = inspect.signature(call).parameters.values()
    except (TypeError, ValueError):
        return float("inf")
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return float("inf")
    return sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)


def takes_loader_index(call: Call, several: bool) -> bool:
    """Whether a step or batch hook is to be given `dataloader_idx`: by its name, or because there are several loaders.

    A last argument with another name and a default is the user's own.
    """
    try:
        parameters = list(inspect.signature(call).parameters.values())
    except (TypeError, ValueError):
        return several
    if any(p.name == "dataloader_idx" for p in parameters):
        return True
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return several
    return several or (len(parameters) >= 3 and parameters[-1].default is inspect.Parameter.empty)


def trimmed(call: Call, given: int, takes: float | None = None) -> Call:
    """The callable, given `given` arguments, of which it gets as many as it has names for."""
    takes = positional(call) if takes is None else takes
    if takes >= given:
        return call
    if given == 3:
        return (lambda a, b, _: call(a, b)) if takes == 2 else (lambda a, *_: call(a))
    return lambda *args: call(*args[: int(takes)])


def indexed(step: Call, written: Call, name: str, loaders: int) -> Call:
    """An evaluation step as the engine runs it, given (batch, batch_idx, dataloader_idx).

    `written` is the method as the user wrote it; one that takes anything gets the loader's index if there are several.
    """
    takes = positional(written)
    if not takes_loader_index(written, loaders > 1):
        takes = min(takes, 2)
    if loaders > 1 and takes < 3:
        raise MisconfigurationException(
            f"There are {loaders} loaders, and `{name}` does not take `dataloader_idx`. "
            f"Write `def {name}(self, batch, batch_idx, dataloader_idx)`."
        )
    return trimmed(step, 3, takes)


def _fitted(call: Call, name: str) -> Call:
    """A batch hook that gets as many arguments as it has names for."""
    if not name.endswith(("_batch_start", "_batch_end")):
        return call
    given = 2 + name.endswith("_end") + ("train" not in name)
    takes = positional(call)
    if "train" not in name and takes >= given and not takes_loader_index(call, takes == float("inf")):
        takes = given - 1
    return trimmed(call, given, takes)


def check_callbacks(callbacks: list[Any]) -> list[Any]:
    """The callbacks, each of which has a hook and none that only almost has one."""
    for callback in callbacks:
        kind = type(callback).__name__
        if not any(callable(getattr(callback, name, None)) for name in CALLBACK_HOOKS):
            raise TypeError(
                f"`callbacks` got {callback!r}, which has no hook, such as `on_train_epoch_end`. "
                "Pass objects with hook methods, e.g. instances of subclasses of `Callback`."
            )
        if isinstance(callback, type):
            raise TypeError(f"`callbacks` got the class `{callback.__name__}`. Pass an instance of it.")
        for name in dir(type(callback)):
            meant = nearest(name, CALLBACK_HOOKS, cutoff=0.9) if name.startswith("on_") else None
            if meant not in (None, name) and name not in VOCABULARY and not is_overridden(callback, str(meant)):
                raise MisconfigurationException(
                    f"`{kind}.{name}` is not a hook and would never be called. Did you mean `{meant}`?"
                )
    return callbacks


def check_names(module: Any, required: Iterable[str]) -> None:
    """Refuse a method whose name was almost a hook's, and hooks that no longer exist."""
    libraries = ("torch", "lt_module", "lt_data", "lt")
    base = {n for c in type(module).__mro__ if c.__module__.split(".")[0] in libraries for n in vars(c)}
    own = [n for n in dir(type(module)) if n not in base and not n.startswith("_") and n not in VOCABULARY]
    missing = {n for n in required if not is_overridden(module, n)}
    for name in own:
        if not callable(getattr(type(module), name, None)):
            continue
        if name in REMOVED:
            raise MisconfigurationException(
                f"`{type(module).__name__}.{name}` is never called: the hook was removed. "
                f"Use `{REMOVED[name]}` and keep what it needs on `self`."
            )
        meant = nearest(name, missing, cutoff=0.85) or (
            nearest(name, VOCABULARY, cutoff=0.9) if name.startswith("on_") else None
        )
        if meant and not is_overridden(module, meant):
            raise MisconfigurationException(
                f"`{type(module).__name__}.{name}` is not a hook and would never be called. Did you mean `{meant}`?"
            )
    for name in sorted(missing):
        raise MisconfigurationException(
            f"`{type(module).__name__}` has no `{name}`. Define it: this run cannot do without."
        )
