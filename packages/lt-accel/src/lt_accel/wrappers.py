"""What `Fabric.setup` returns: the user's module, optimizer and loader, with the engine in between."""

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

from lt_accel.precision import Precision

_STEPS = frozenset({"training_step", "validation_step", "test_step", "predict_step"})


class FabricModule(nn.Module):
    """Runs the module's forward in the engine's precision and strategy; everything else is the module's own.

    `module` is the user's; parameters and state have its names.
    """

    def __init__(self, module: nn.Module, compiled: nn.Module, wrapped: Any, engine: Any) -> None:
        super().__init__()
        self.module = module
        self.register_load_state_dict_pre_hook(_inward)  # type: ignore[no-untyped-call]
        self.__dict__.update(_compiled=compiled, _wrapped=wrapped, _engine=engine, _marked=set(_STEPS))
        self._bind()

    def _bind(self) -> None:
        engine = self._engine
        run, convert = engine.bind(self, "__call__"), engine.precision.convert_output
        plain = type(engine.precision).convert_output is Precision.convert_output
        self.__dict__["_run"] = run if plain else lambda *args, **kwargs: convert(run(*args, **kwargs))

    def __deepcopy__(self, memo: dict[int, Any]) -> "FabricModule":
        made = memo[id(self)] = type(self).__new__(type(self))
        own = {k: v for k, v in vars(self).items() if k not in ("_engine", "_run")}
        made.__dict__.update(copy.deepcopy(own, memo), _engine=self._engine)
        made._bind()  # what is copied of a bound function would run the module that it was made for
        return made

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self._run(*args, **kwargs)

    def mark_forward_method(self, method: str | Callable[..., Any]) -> None:
        """Let another method run as the forward pass does: in precision, with shared gradients."""
        name = method if isinstance(method, str) else getattr(method, "__name__", repr(method))
        if not callable(getattr(self.module, name, None)):
            raise AttributeError(
                f"`{type(self.module).__name__}` has no method `{name}`. Name one that `forward` may be replaced by."
            )
        self._marked.add(name)

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        return self.module.state_dict(*args, **kwargs)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        return self.module.load_state_dict(state_dict, strict, assign)

    def named_parameters(self, *args: Any, **kwargs: Any) -> Iterator[tuple[str, nn.Parameter]]:
        return self.module.named_parameters(*args, **kwargs)

    def named_buffers(self, *args: Any, **kwargs: Any) -> Iterator[tuple[str, torch.Tensor]]:
        return self.module.named_buffers(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name == "module":
            return super().__getattr__(name)
        if name in ("device", "dtype") and not hasattr(self.module, name):
            return self._engine.device if name == "device" else self._engine.precision.param_dtype
        value = getattr(self.module, name)
        if name in self._marked:
            return self._engine.bind(self, name)
        if self._wrapped is not None and getattr(value, "__self__", None) is self.module:
            return self._guarded(name, value)
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        if "_run" in self.__dict__ and name not in self.__dict__ and name != "module" and not hasattr(type(self), name):
            setattr(self.module, name, value)
        else:
            super().__setattr__(name, value)

    def _guarded(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        """The method, refusing to compute gradients past the strategy, which would not share them."""
        inside = set(self.module.modules())
        always = self._engine.strategy.shards_modules

        def refuse(module: nn.Module, _: Any) -> None:
            if module in inside and (always or torch.is_grad_enabled()):
                raise RuntimeError(
                    f"`{name}` ran a forward pass of which the other ranks know nothing. Call the module itself, or "
                    f"`mark_forward_method({name!r})` first."
                )

        def run(*args: Any, **kwargs: Any) -> Any:
            handle = register_module_forward_pre_hook(refuse)
            try:
                return method(*args, **kwargs)
            finally:
                handle.remove()

        return run


def _inward(_: nn.Module, state_dict: dict[str, Any], prefix: str, *__: Any) -> None:
    """What is around a set-up module loads the names that it saves, which are those of the user's module."""
    for name in [n for n in state_dict if n.startswith(prefix)]:
        state_dict[f"{prefix}module.{name.removeprefix(prefix)}"] = state_dict.pop(name)


class FabricOptimizer:
    """Steps through the engine; everything else, `isinstance` included, is the optimizer's own."""

    def __init__(self, optimizer: Any, engine: Any, callbacks: list[Any]) -> None:
        if not callable(getattr(optimizer, "step", None)) or not hasattr(optimizer, "param_groups"):
            raise TypeError(
                f"An optimizer was expected, got a `{type(optimizer).__name__}`. Pass one or several of `torch.optim`, "
                "each as an argument of its own."
            )
        after = [c.on_after_optimizer_step for c in callbacks if hasattr(c, "on_after_optimizer_step")]
        self.__dict__.update(optimizer=optimizer, _engine=engine, _after=after)
        self.__class__ = type(f"Fabric{type(optimizer).__name__}", (FabricOptimizer, type(optimizer)), {})

    def __deepcopy__(self, memo: dict[int, Any]) -> "FabricOptimizer":
        made = memo[id(self)] = FabricOptimizer(copy.deepcopy(self.optimizer, memo), self._engine, [])
        made.__dict__["_after"] = self._after
        return made

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Step; returns the loss of the closure's first call, if there is one."""
        engine, losses = self._engine, [None]
        if closure is None:
            engine.optimizer_step(self.optimizer)
        else:
            losses = []

            def evaluate() -> Any:
                losses.append(closure())
                return losses[-1]

            engine.optimizer_step(self.optimizer, evaluate)
        for callback in self._after:
            callback(strategy=engine.strategy, optimizer=self.optimizer)
        return losses[0]

    @property
    def param_groups(self) -> Any:
        return self.optimizer.param_groups

    @property
    def state(self) -> Any:
        return self.optimizer.state

    def zero_grad(self, set_to_none: bool = True) -> None:
        self.optimizer.zero_grad(set_to_none)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        self.optimizer.add_param_group(param_group)

    def state_dict(self) -> Any:
        return self.optimizer.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.optimizer.load_state_dict(state_dict)

    def __getattr__(self, name: str) -> Any:
        if name == "optimizer":
            raise AttributeError(name)
        return getattr(self.optimizer, name)

    def __repr__(self) -> str:
        return f"Fabric{self.optimizer!r}"


class FabricLoader:
    """Yields batches on the engine's device and shuffles anew each time; everything else is the loader's own."""

    def __init__(self, loader: Any, move: Callable[[Any], Any] | None) -> None:
        self._loader = loader
        self._move = move
        self._samplers = [s for s in samplers(loader) if hasattr(s, "epoch")]
        self._told = [s for s in samplers(loader) if not hasattr(s, "epoch")]
        self._seen: int | None = None
        self._count = 0

    def __iter__(self) -> Iterator[Any]:
        for sampler in self._samplers:
            if sampler.epoch == self._seen:  # nobody else counts epochs
                sampler.set_epoch(sampler.epoch + 1)
        self._seen = self._samplers[0].epoch if self._samplers else None
        for sampler in self._told:
            sampler.set_epoch(self._count)
        self._count += 1
        return iter(self._loader) if self._move is None else map(self._move, self._loader)

    def __len__(self) -> int:
        return len(self._loader)

    def __getattr__(self, name: str) -> Any:
        if name == "_loader":
            raise AttributeError(name)
        return getattr(self._loader, name)


def samplers(loader: Any) -> list[Any]:
    """What of a loader shuffles by epoch."""
    batches = getattr(loader, "batch_sampler", None)
    found = {id(s): s for s in (getattr(loader, "sampler", None), batches, getattr(batches, "sampler", None))}
    return [s for s in found.values() if callable(getattr(s, "set_epoch", None))]


def is_wrapped(obj: Any) -> bool:
    """True for what `Fabric.setup` and its relatives return."""
    return isinstance(obj, (FabricModule, FabricOptimizer, FabricLoader))
