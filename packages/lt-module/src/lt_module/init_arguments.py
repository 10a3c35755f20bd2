"""The arguments of `__init__`: read from the calls still running, and given back to build the object anew.

Knows neither modules nor checkpoints, so a data module can use it as well.
"""

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from types import FrameType
from typing import Any, TypeVar

from lt_interfaces import did_you_mean
from lt_interfaces.masking import masks_in

from lt_module.annotated_values import annotated, annotations
from lt_module.attribute_dict import AttributeDict

T = TypeVar("T")
Kind = inspect.Parameter

# Lightning's command line leaves these in its files; they name code to import, so they are never followed.
_FOREIGN = ("_instantiator", "_class_path")


def _init_frames(obj: Any, frame: FrameType | None) -> Iterator[FrameType]:
    """The running `__init__` calls of this very object, innermost first; wrappers between them do not matter."""
    while frame is not None:
        code = frame.f_code
        if code.co_name == "__init__" and code.co_argcount and frame.f_locals.get(code.co_varnames[0]) is obj:
            yield frame
        frame = frame.f_back


def running_init_arguments(obj: Any, frame: FrameType | None) -> tuple[dict[str, Any], set[str]]:
    """What `obj` is being built with, a subclass before its base, and the names of `*args` only passed on.

    `**kwargs` are flattened. `*args` stay under their name in the innermost call; further out they were passed on,
    so their values are there already under the names that the base gives them.
    """
    found: dict[str, Any] = {}
    passed_on: set[str] = set()
    for depth, running in enumerate(_init_frames(obj, frame)):
        names, variadic, keywords, values = inspect.getargvalues(running)
        if variadic and depth:
            if variadic not in found:
                passed_on.add(variadic)
        elif variadic and values.get(variadic):
            found[variadic] = values[variadic]
        found.update({name: values[name] for name in names[1:] if name in values})
        found.update(values.get(keywords, {}) if keywords else {})
    if is_dataclass(obj):
        # Where a field has a default factory, the generated `__init__` holds a marker instead of the value.
        found.update({f.name: getattr(obj, f.name) for f in fields(obj) if f.name in found and hasattr(obj, f.name)})
    return found, passed_on


def instantiate(
    cls: type[T], saved: Mapping[str, Any], name: str | None = None, overrides: Mapping[str, Any] | None = None
) -> T:
    """A new `cls` from saved hyperparameters, updated by `overrides`; what `__init__` does not know is left out.

    With `name`, the argument of `__init__` that took all hyperparameters in one object, they are passed so again.
    Where `__init__` is annotated with an enum, a dataclass, a path or a duration, saved values become that again.
    An override that fits nowhere is an error, and so is a required argument that is in neither, or a secret that was
    not saved.
    """
    overrides = dict(overrides or {})
    values = {key: value for key, value in saved.items() if key not in _FOREIGN}
    parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
    names = {p.name for p in parameters if p.kind not in (Kind.VAR_POSITIONAL, Kind.VAR_KEYWORD)}
    open_ended = any(p.kind is Kind.VAR_KEYWORD for p in parameters)
    if name in names:
        inside = {k: overrides.pop(k) for k in list(overrides) if k in values and k not in names}
        values = values | inside
        _refuse_masks(cls, {} if name in overrides else values)
        values = {name: AttributeDict(values)}
    elif not open_ended:
        accepted = names | {p.name for p in parameters if p.kind is Kind.VAR_POSITIONAL}
        values = {key: value for key, value in values.items() if key in accepted}
    kinds = annotations(cls.__init__)
    values = {key: annotated(value, kinds.get(key)) for key, value in values.items()}
    if unknown := [key for key in overrides if key not in names and not open_ended]:
        raise TypeError(f"`{cls.__name__}` takes no argument `{unknown[0]}`. {did_you_mean(unknown[0], names)}")
    if name not in names:
        _refuse_masks(cls, values | overrides)
    return _call(cls, parameters, values | overrides)


def _refuse_masks(cls: type, values: Mapping[str, Any]) -> None:
    """Nobody should log in with `***`."""
    for key, value in values.items():
        if places := list(masks_in(value, key)):
            where = f"`{places[0]}`" if places[0] == key else f"`{places[0]}` in `{key}`"
            raise TypeError(
                f"`{cls.__name__}` was saved without the secret {where}: secrets are not written to files. "
                f"Pass {key}=... as well."
            )


def _call(cls: type[T], parameters: list[inspect.Parameter], values: dict[str, Any]) -> T:
    required = [p.name for p in parameters if p.default is p.empty and p.kind not in (2, 4)]
    if missing := [name for name in required if name not in values]:
        listed = ", ".join(f"`{name}`" for name in missing)
        raise TypeError(
            f"`{cls.__name__}` needs {listed}, which the saved hyperparameters do not hold. "
            f"Pass {', '.join(f'{name}=...' for name in missing)} as well."
        )
    variadic = next((p.name for p in parameters if p.kind is Kind.VAR_POSITIONAL), None)
    rest = list(values.pop(variadic)) if variadic in values else []
    kinds = (Kind.POSITIONAL_ONLY, Kind.POSITIONAL_OR_KEYWORD) if rest else (Kind.POSITIONAL_ONLY,)
    first = [values.pop(p.name, p.default) for p in parameters if p.kind in kinds]
    return cls(*first, *rest, **values)
