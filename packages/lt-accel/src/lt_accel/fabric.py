"""The engine: one device, precision and strategy behind one face, for a loop of your own or for a Trainer."""

import inspect
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import torch
import torch.distributed as dist
from lt_checkpoint import CheckpointIO
from lt_interfaces import is_overridden, log
from torch import nn

from lt_accel import arguments, states
from lt_accel import seed as seeds
from lt_accel.accelerators import Accelerator, Devices
from lt_accel.binding import bound
from lt_accel.environments import detect_environment
from lt_accel.plugins import Plugins
from lt_accel.precision import Precision
from lt_accel.precision_names import choose_precision, statement
from lt_accel.preparation import NoInit, checked, follow, parts, uncompiled
from lt_accel.processes import Processes
from lt_accel.selection import choose_accelerator, choose_devices, choose_strategy
from lt_accel.sharding import sharded
from lt_accel.steps import Steps
from lt_accel.strategies import Strategy
from lt_accel.transfer import to_device
from lt_accel.wrappers import FabricLoader, FabricModule, FabricOptimizer, samplers


class Fabric(Processes, Steps):
    """Device, precision and strategy for a PyTorch loop; making one opens nothing and starts nothing.

    Names are resolved here ("gpu", "bf16-mixed", "ddp"), objects are taken as they are. `plugins` may hold a
    `Precision`, a `ClusterEnvironment` and a `CheckpointIO`.
    """

    def __init__(
        self,
        *,
        accelerator: str | Accelerator = "auto",
        strategy: str | Strategy = "auto",
        devices: Devices = "auto",
        num_nodes: int | str = 1,
        precision: str | int | Precision | None = None,
        plugins: Any = None,
        callbacks: Any = None,
        loggers: Any = None,
    ) -> None:
        given = Plugins(plugins, precision)
        environment = given.environment or detect_environment()
        num_nodes = arguments.machines(num_nodes)
        self.accelerator = choose_accelerator(accelerator)
        places = choose_devices(self.accelerator, devices, environment)
        self.strategy = choose_strategy(strategy, places, num_nodes, environment)
        self.strategy.connect(self.accelerator, places, num_nodes, environment)
        self.strategy.checkpoint_io = given.checkpoint_io or CheckpointIO()
        self.precision = choose_precision(given.precision, self.strategy.device)
        self.precision.connect(self.strategy)
        self._dtypes = self.strategy.dtypes(self.precision)
        self.callbacks: list[Any] = arguments.listed(callbacks)
        self.loggers: list[Any] = arguments.loggers(loggers)
        self._launched = self._has_told = False
        self._runs = 0
        self._set_up: WeakValueDictionary[int, FabricModule] = WeakValueDictionary()
        self._place()

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in vars(self).items() if k != "_set_up"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _set_up=WeakValueDictionary())

    @property
    def is_global_zero(self) -> bool:
        """True in the process that writes files and messages."""
        return self.global_rank == 0

    @property
    def scaler(self) -> Any:
        """The gradient scaler of fp16 training, else None."""
        return self.precision.scaler

    @property
    def device_mesh(self) -> Any:
        """torch's mesh of all ranks, once launched, where the strategy has one; else None."""
        return self.strategy.device_mesh

    @property
    def checkpoint_io(self) -> CheckpointIO:
        """Where checkpoints go; its `flush` waits for those that are saved in the background."""
        return self.strategy.checkpoint_io

    @property
    def logger(self) -> Any:
        """The first logger or None."""
        return self.loggers[0] if self.loggers else None

    @property
    def steps_plainly(self) -> bool:
        """True if `optimizer_step` does nothing but step: no scaling, nothing to wait for."""
        return (
            type(self.precision).optimizer_step is Precision.optimizer_step
            and type(self.strategy).before_step is Strategy.before_step
            and type(self.strategy).after_step is Strategy.after_step
        )

    def setup(
        self,
        module: nn.Module,
        *optimizers: Any,
        scheduler: Any = None,
        move_to_device: bool = True,
        _reapply_compile: bool = True,
    ) -> Any:
        """The module, or a tuple of it, its optimizers and its scheduler, ready for the loop."""
        replaces = self.strategy.shards_modules or self.precision.replaces_parameters
        before = dict(module.named_parameters()) if replaces else {}
        ready: list[Any] = [self.setup_module(module, move_to_device, _reapply_compile)]
        follow(optimizers, before, ready[0])
        ready += [self._optimizer(o) for o in optimizers]
        if scheduler is not None:
            ready.append(scheduler)
        return tuple(ready) if len(ready) > 1 else ready[0]

    def setup_module(self, module: nn.Module, move_to_device: bool = True, _reapply_compile: bool = True) -> Any:
        """The module on its device, in its dtype, wrapped for the strategy; keep and call what this returns."""
        checked(module)
        self._must_be_launched("setup_module")
        self._tell_precision()
        inner, compiled, whole = parts(module, self.strategy, self.precision)
        original = self.precision.convert_module(inner)
        if move_to_device and not self.strategy.shards_modules:
            original = original.to(self.device)
        if hasattr(type(original), "fabric"):
            setattr(original, "fabric", self)  # noqa: B010, a property of some modules that torch does not know
        wrapped = self.strategy.wrap(original if whole is inner else whole, self.precision)
        is_compiled = compiled is not inner and _reapply_compile
        wrapper = FabricModule(original, compiled if is_compiled else original, wrapped, self)
        self._set_up[id(original)] = wrapper
        return wrapper

    def _tell_precision(self) -> None:
        """Once, and only if it is not what everybody expects."""
        computed, reduced = self._dtypes
        if self.is_global_zero and not self._has_told and (self.precision.precision, computed) != _ORDINARY:
            log.info(statement(self.precision, computed, reduced))
        self._has_told = True

    def setup_optimizers(self, *optimizers: Any) -> Any:
        """The optimizers as this engine steps them; one in, one out, else a tuple."""
        ready = tuple(self._optimizer(o) for o in optimizers)
        return ready[0] if len(ready) == 1 else ready

    def _optimizer(self, optimizer: Any) -> Any:
        if isinstance(optimizer, FabricOptimizer):
            raise ValueError("This optimizer was set up already. Pass the one that you made, once.")
        return FabricOptimizer(self.strategy.setup_optimizer(optimizer), self, self.callbacks)

    def setup_dataloaders(
        self,
        *loaders: Any,
        use_distributed_sampler: bool = True,
        move_to_device: bool = True,
        even: bool = True,
        whole_batches: bool = False,
    ) -> Any:
        """The loaders sharded over the ranks; `even=False` gives each sample once and pads nothing.

        `whole_batches` deals out the batches that one process would get, in turn, instead of samples.
        """
        ready = [self._loader(x, use_distributed_sampler, move_to_device, even, whole_batches) for x in loaders]
        return ready[0] if len(ready) == 1 else ready

    def _loader(self, loader: Any, shard: bool, move: bool, even: bool, whole_batches: bool) -> Any:
        if isinstance(loader, FabricLoader):
            raise ValueError("This dataloader was set up already. Pass the one that you made, once.")
        loader = arguments.data(loader)
        if shard and self.world_size > 1:
            self._must_be_launched("setup_dataloaders")
            loader = sharded(loader, *self.strategy.data_place, even, self.strategy.shards_modules, whole_batches)
        if not move or (self.device.type == "cpu" and not samplers(loader)):
            return loader
        return FabricLoader(loader, None if self.device.type == "cpu" else self.to_device)

    def bind(self, module: Any, method: str) -> Callable[..., Any]:
        """A method of a set-up module as it runs here: autocast, wrapper; the bare bound method if neither is."""
        return bound(module, self._wrapper(module), method, self.strategy, self.precision)

    def _wrapper(self, module: Any) -> FabricModule | None:
        module = uncompiled(module)
        return module if isinstance(module, FabricModule) else self._set_up.get(id(module))

    def to_device(self, obj: Any) -> Any:
        """Tensors in any nesting, moved; the very same object if nothing has to move."""
        return to_device(obj, self.device)

    @contextmanager
    def init_module(self, empty_init: bool | None = None) -> Iterator[None]:
        """Modules made inside are on the device and in the dtype; `empty_init` leaves their memory as it is.

        Where a strategy shards modules, an empty one takes no memory; `setup` makes and initialises each rank's part.
        """
        with ExitStack() as stack:
            stack.enter_context(self.strategy.init_device(bool(empty_init)))
            stack.enter_context(self.precision.module_init_context())
            if empty_init:
                stack.enter_context(NoInit())
            yield

    @contextmanager
    def init_tensor(self) -> Iterator[None]:
        """Tensors made inside are on the device and in the dtype."""
        with self.device, self.precision.tensor_init_context():
            yield

    def save(self, path: Any, state: Mapping[str, Any], filter: states.Filter | None = None) -> None:
        """Write a checkpoint from rank zero, whole or not at all; every rank must call.

        Modules, optimizers and whatever has a `state_dict` are saved by it. `filter[key](name, value)` says what of
        that to keep.
        """
        self._must_be_launched("save", dist.is_initialized())
        self.strategy.save_checkpoint(path, states.collect(arguments.mapping(state, Mapping), filter))

    def load(
        self, path: Any, state: MutableMapping[str, Any] | None = None, strict: bool = True, *, weights_only: Any = None
    ) -> dict[str, Any]:
        """Read a checkpoint onto the CPU, into the objects of `state` if given; returns what no object took.

        Files never run code, whatever `weights_only` says.
        """
        if state is not None:
            arguments.mapping(state, MutableMapping)
        loaded = self.strategy.load_checkpoint(path)
        return loaded if state is None else states.distribute(loaded, state, strict, str(path))

    def load_raw(self, path: Any, obj: Any, strict: bool = True, *, weights_only: Any = None) -> None:
        """Read a file that holds one state dict into a module or optimizer."""
        if not callable(getattr(obj, "load_state_dict", None)):
            raise TypeError(f"`load_raw` takes what has a `load_state_dict`, got a `{type(obj).__name__}`. Use `load`.")
        states.restore(obj, self.strategy.load_checkpoint(path), strict)

    def state_dict(self) -> dict[str, Any]:
        """State of the precision, e.g. the scaler's; empty if there is none."""
        return self.precision.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a saved state."""
        self.precision.load_state_dict(state_dict)

    def call(self, hook_name: str, *args: Any, **kwargs: Any) -> None:
        """Call the method on all callbacks that have it, each with the keywords it takes."""
        for callback in self.callbacks:
            if is_overridden(callback, hook_name):
                method = getattr(callback, hook_name)
                parameters = inspect.signature(method).parameters
                takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
                method(*args, **{k: v for k, v in kwargs.items() if takes_all or k in parameters})

    def log(self, name: str, value: Any, step: int | None = None) -> None:
        """Send one value to all loggers, from rank zero."""
        self.log_dict({name: value}, step)

    def log_dict(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Send one record to all loggers, from rank zero."""
        if self.is_global_zero and self.loggers:
            values = arguments.numbers(metrics)
            for logger in self.loggers:
                logger.log_metrics(metrics=values, step=step)

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Print on rank zero."""
        if self.is_global_zero:
            print(*args, **kwargs)

    @staticmethod
    def seed_everything(seed: int | None = None, workers: bool | None = None, verbose: bool = False) -> int:
        """Seed all generators alike on every rank; returns the seed."""
        return seeds.seed_everything(seed, workers=workers is not False, verbose=verbose)


_ORDINARY = ("32-true", torch.float32)


if TYPE_CHECKING:
    from lt_interfaces import Engine

    _satisfies: type[Engine] = Fabric
