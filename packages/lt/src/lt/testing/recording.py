"""What each optimizer step of a run saw and did, and the first place where two runs differ."""

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import torch
from lt_data.structure import leaves
from torch import Tensor
from torch.optim.optimizer import Optimizer, register_optimizer_step_post_hook

NOISE = 1e-6
"""What rounding leaves of a gradient that should be zero, beside the largest one of the step."""


@dataclass
class Step:
    """One step of an optimizer: the batches since the one before, their losses, and what came of them."""

    batches: list[Any] = field(default_factory=list)
    losses: list[Tensor] = field(default_factory=list)
    gradients: dict[str, Tensor] = field(default_factory=dict)
    weights: dict[str, Tensor] = field(default_factory=dict)

    @property
    def loss(self) -> Tensor | None:
        """The mean over the batches."""
        return torch.stack([loss.float() for loss in self.losses]).mean() if self.losses else None


class Recording:
    """While entered, keeps a `Step` for every step of an optimizer of the module.

    It sees any loop: the steps through torch's own hook, batches and losses through the module's `training_step`.
    With `follow`, the module gets the weights of that recording after each step, so that one difference is not the
    cause of all later ones.
    """

    def __init__(self, module: Any, follow: list[Step] | None = None) -> None:
        self.module, self.follow = module, follow
        self.steps: list[Step] = []
        self.start = _copies(dict(module.named_parameters()))
        self._open = Step()

    def __enter__(self) -> Self:
        self._handle = register_optimizer_step_post_hook(self._stepped)
        method = self.module.training_step
        self._before = {k: v for k, v in vars(self.module).items() if k == "training_step"}

        @functools.wraps(method)
        def training_step(*args: Any, **kwargs: Any) -> Any:
            batch = args[0] if args else next(iter(kwargs.values()), None)
            self._open.batches.append([_copy(leaf) for leaf in leaves(batch)])
            output = method(*args, **kwargs)
            loss = output.get("loss") if isinstance(output, Mapping) else output
            if isinstance(loss, Tensor):
                self._open.losses.append(_copy(loss))
            return output

        self.module.training_step = training_step
        return self

    def __exit__(self, kind: type[BaseException] | None, error: Any, trace: TracebackType | None) -> None:
        self._handle.remove()
        del self.module.training_step
        vars(self.module).update(self._before)

    def _stepped(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        own = {id(p) for group in optimizer.param_groups for p in group["params"]}
        parameters = {name: p for name, p in self.module.named_parameters() if id(p) in own}
        if not parameters:
            return
        self._open.gradients = _copies({name: p.grad for name, p in parameters.items() if p.grad is not None})
        self._open.weights = _copies(parameters)
        self.steps.append(self._open)
        if self.follow is not None and len(self.steps) <= len(self.follow):
            target = self.follow[len(self.steps) - 1].weights
            with torch.no_grad():
                for name, parameter in parameters.items():
                    parameter.copy_(target[name])
        self._open = Step()


def _copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: _copy(tensor) for name, tensor in tensors.items()}


def _copy(value: Any) -> Any:
    if not isinstance(value, Tensor):
        return value
    value = value.detach()
    return (value if value.layout is torch.strided else value.to_dense()).to("cpu", copy=True)


def first_difference(expected: list[Step], found: list[Step], first: int = 0) -> str | None:
    """Where runs differ bit for bit, in the order of cause and effect; `first` is the number of steps before."""
    for number, (one, other) in enumerate(zip(expected, found, strict=False), start=first + 1):
        for what, was, now in _parts(one, other):
            if difference := unlike(was, now):
                return f"at step {number}, {what}: {difference}"
    if len(expected) != len(found):
        return f"in the number of steps: {first + len(expected)} and {first + len(found)}"
    return None


def _parts(one: Step, other: Step) -> Iterator[tuple[str, Any, Any]]:
    if one.batches and other.batches:
        yield "the batch", one.batches, other.batches
    if one.losses and other.losses:
        yield "the loss", one.losses, other.losses
    yield from _named("the gradient", one.gradients, other.gradients)
    yield from _named("the weights", one.weights, other.weights)


def _named(what: str, one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> Iterator[tuple[str, Any, Any]]:
    for name in [*one, *(name for name in other if name not in one)]:
        yield f"{what} of `{name}`", one.get(name), other.get(name)


def unlike(was: Any, now: Any) -> str | None:
    """How two values differ, tensors bit for bit and containers by their first difference; None if they do not."""
    if isinstance(was, Tensor) and isinstance(now, Tensor):
        return _unlike_tensors(was, now)
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        for key in [*was, *(key for key in now if key not in was)]:
            if difference := unlike(was.get(key), now.get(key)):
                return f"`{key}`: {difference}"
        return None
    if isinstance(was, (list, tuple)) and isinstance(now, (list, tuple)) and len(was) == len(now):
        return next((f"[{i}]: {d}" for i, pair in enumerate(zip(was, now, strict=True)) if (d := unlike(*pair))), None)
    return None if repr(was) == repr(now) else f"{_shown(was)} and {_shown(now)}"


def _unlike_tensors(was: Tensor, now: Tensor) -> str | None:
    if (was.dtype, was.shape) != (now.dtype, now.shape):
        return f"{_shown(was)} and {_shown(now)}"
    bits, others = (t.detach().cpu().contiguous().reshape(-1).view(torch.uint8) for t in (was, now))
    return None if torch.equal(bits, others) else f"the largest difference is {_distance(was, now):.3g}"


def _distance(was: Tensor, now: Tensor) -> float:
    kind = torch.complex128 if was.is_complex() else torch.float64
    return float((was.detach().cpu().to(kind) - now.detach().cpu().to(kind)).abs().max())


def _shown(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a {str(value.dtype).removeprefix('torch.')} tensor of shape {tuple(value.shape)}"
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def first_distance(expected: list[Step], found: list[Step], tolerance: float) -> str | None:
    """Where the losses or gradients of runs are further apart than `tolerance` times the largest of the tensor."""
    for number, (one, other) in enumerate(zip(expected, found, strict=False), start=1):
        if one.loss is not None and other.loss is not None:
            apart = _distance(one.loss, other.loss)
            if not apart <= tolerance * (abs(float(one.loss)) + 1):
                return f"at step {number}, the loss: {float(one.loss):.6g} and {float(other.loss):.6g}"
        largest = max((float(g.abs().max()) for g in one.gradients.values() if g.numel()), default=0.0)
        for what, was, now in _named("the gradient", one.gradients, other.gradients):
            if was is None or now is None or was.shape != now.shape:
                return f"at step {number}, {what}: {_shown(was)} and {_shown(now)}"
            if not was.numel():
                continue
            apart = _distance(was, now)
            if not apart <= tolerance * float(was.abs().max()) + NOISE * largest:
                return f"at step {number}, {what}: the largest difference is {apart:.3g}, beside {was.abs().max():.3g}"
    if len(expected) != len(found):
        return f"in the number of steps: {len(expected)} and {len(found)}"
    return None
