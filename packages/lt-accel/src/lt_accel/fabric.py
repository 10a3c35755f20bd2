"""The engine: one device, precision and strategy behind one face, for a loop of your own or for a Trainer."""

import functools
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import torch
from lt_checkpoint import CheckpointIO
from lt_interfaces import is_overridden, log
from torch import Tensor, nn

from lt_accel import seed as seeds
from lt_accel import states
from lt_accel.accelerators import Accelerator, Devices
from lt_accel.binding import bound
from lt_accel.environments import ClusterEnvironment, detect_environment
from lt_accel.precision import Precision
from lt_accel.precision_names import choose_precision, statement
from lt_accel.preparation import NoInit, checked, follow, parts, uncompiled
from lt_accel.process_launcher import launch_processes
from lt_accel.script_launcher import follow_parent, is_child, launch_script
from lt_accel.selection import choose_accelerator, choose_devices, choose_strategy
from lt_accel.sharding import sharded
from lt_accel.stop_agreement import StopAgreement
from lt_accel.strategies import Strategy
from lt_accel.transfer import to_device
from lt_accel.wrappers import FabricLoader, FabricModule, FabricOptimizer


class Fabric:
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
        num_nodes: int = 1,
        precision: str | int | Precision | None = None,
        plugins: Any = None,
        callbacks: Any = None,
        loggers: Any = None,
    ) -> None:
        given = _Plugins(plugins, precision)
        environment = given.environment or detect_environment()
        if num_nodes < 1:
            raise ValueError(f"`num_nodes` must be at least 1, got {num_nodes!r}. Pass the number of machines.")
        self.accelerator = choose_accelerator(accelerator)
        places = choose_devices(self.accelerator, devices, environment)
        self.strategy = choose_strategy(strategy, places, num_nodes, environment)
        self.strategy.connect(self.accelerator, places, num_nodes, environment)
        self.strategy.checkpoint_io = given.checkpoint_io or CheckpointIO()
        self.precision = choose_precision(given.precision, self.strategy.device)
        self._dtypes = self.strategy.dtypes(self.precision)
        self.callbacks: list[Any] = _listed(callbacks)
        self.loggers: list[Any] = _listed(loggers)
        self._launched = self._has_told = False
        self._runs = 0
        self._set_up: WeakValueDictionary[int, FabricModule] = WeakValueDictionary()
        self._place()

    def _place(self) -> None:
        strategy = self.strategy
        self.device, self.world_size = strategy.device, strategy.world_size
        self.global_rank, self.local_rank, self.node_rank = (
            strategy.global_rank,
            strategy.local_rank,
            strategy.node_rank,
        )

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "run" in vars(cls):
            run = vars(cls)["run"]

            @functools.wraps(run)
            def launched(self: Any, *args: Any, **kwargs: Any) -> Any:
                return self.launch(functools.partial(run, self), *args, **kwargs)

            cls.run = launched  # type: ignore[method-assign]

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

    def launch(self, function: Callable[..., Any] | None = None, *args: Any, **kwargs: Any) -> Any:
        """Start the processes of the group and join it; then `function(*args, **kwargs)` in each, if given.

        A function whose first parameter is called `fabric`, or that lacks just one argument, gets this Fabric first.
        """
        if not self._launched:
            strategy = self.strategy
            external = strategy.environment is None or strategy.environment.creates_processes_externally
            if is_child():
                follow_parent()
            if strategy.distributed and not external:
                if strategy.start_method != "popen":
                    return self._launch_processes(function, args, kwargs)
                launch_script(strategy)
            self._enter()
        return None if function is None else self._call(function, args, kwargs)

    def _launch_processes(self, function: Callable[..., Any] | None, args: Any, kwargs: Any) -> Any:
        if function is None:
            raise TypeError(
                f"Start method {self.strategy.start_method!r} runs a function in new processes, but `launch` got none. "
                "Use `launch(function)`, or `strategy='ddp'` to run the script itself again."
            )
        return launch_processes(self.strategy, functools.partial(_in_process, self, function, args, kwargs))

    def _enter(self) -> None:
        self.strategy.join()
        self._launched = True
        self._place()

    def _call(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        return function(self, *args, **kwargs) if _lacks_fabric(function, args, kwargs) else function(*args, **kwargs)

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Override it with a whole program: calling it launches first."""
        raise NotImplementedError("`run` is for subclasses to override. Call `launch` to start processes.")

    def teardown(self) -> None:
        """Leave the group, stop what was started; `launch` joins again."""
        if self._launched:
            self._launched = False
            self.precision.teardown()
            self.strategy.leave()

    def setup(
        self,
        module: nn.Module,
        *optimizers: Any,
        scheduler: Any = None,
        move_to_device: bool = True,
        _reapply_compile: bool = True,
    ) -> Any:
        """The module, or a tuple of it, its optimizers and its scheduler, ready for the loop."""
        before = dict(module.named_parameters()) if self.strategy.shards_modules else {}
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
        self.strategy.setup_optimizer(optimizer)
        return FabricOptimizer(optimizer, self, self.callbacks)

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
        if shard and self.world_size > 1:
            self._must_be_launched("setup_dataloaders")
            loader = sharded(loader, *self.strategy.data_place, even, self.strategy.shards_modules, whole_batches)
        if not move or (self.device.type == "cpu" and self.world_size == 1):
            return loader
        return FabricLoader(loader, None if self.device.type == "cpu" else self.to_device)

    def _must_be_launched(self, name: str) -> None:
        if self.strategy.distributed and not self._launched:
            raise RuntimeError(f"`{name}` was called before the processes were started. Call `launch()` first.")

    def bind(self, module: Any, method: str) -> Callable[..., Any]:
        """A method of a set-up module as it runs here: autocast, wrapper; the bare bound method if neither is."""
        return bound(module, self._wrapper(module), method, self.strategy, self.precision)

    def _wrapper(self, module: Any) -> FabricModule | None:
        module = uncompiled(module)
        return module if isinstance(module, FabricModule) else self._set_up.get(id(module))

    def to_device(self, obj: Any) -> Any:
        """Tensors in any nesting, moved; the very same object if nothing has to move."""
        return to_device(obj, self.device)

    def backward(self, tensor: Tensor, *args: Any, model: Any = None, **kwargs: Any) -> None:
        """Gradients of a loss, scaled where the precision scales."""
        self.scale_loss(tensor).backward(*args, **kwargs)  # type: ignore[no-untyped-call]

    def scale_loss(self, loss: Tensor) -> Tensor:
        """The loss as backward must see it; call it right before, and only if you call `loss.backward` yourself."""
        self.strategy.before_backward(loss)
        return self.precision.scale(loss)

    def unscale_gradients(self, optimizer: Any) -> None:
        """Gradients in true size, once per step; nothing to do without a scaler."""
        self.precision.unscale_gradients(_bare(optimizer))

    def optimizer_step(self, optimizer: Any, closure: Callable[[], Any] | None = None) -> bool:
        """Step; False if the scaler found infinite gradients and skipped it."""
        self.strategy.before_step()
        bare = _bare(optimizer)
        stepped = self.precision.optimizer_step(bare, closure)
        self.strategy.after_step(bare)
        return stepped

    def clip_gradients(
        self,
        module: Any,
        optimizer: Any,
        clip_val: float | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        error_if_nonfinite: bool = False,
    ) -> Any:
        """Clip the optimizer's gradients by value or by total norm; returns the norm before, None for a value.

        `error_if_nonfinite` waits for the GPU. With a scaler, infinite gradients are ordinary: the step is left out.
        """
        if (clip_val is None) == (max_norm is None):
            raise ValueError(
                f"`clip_gradients` clips by one of two, got `clip_val={clip_val!r}`, `max_norm={max_norm!r}`. Pass one."
            )
        optimizer = _bare(optimizer)
        self.precision.unscale_gradients(optimizer)
        params = [p for group in optimizer.param_groups for p in group["params"]] if optimizer else module.parameters()
        if max_norm is not None:
            return self.strategy.clip_norm(list(params), max_norm, norm_type, error_if_nonfinite)
        return nn.utils.clip_grad_value_(params, clip_val)  # type: ignore[arg-type]

    def no_backward_sync(self, module: Any, enabled: bool = True) -> AbstractContextManager[Any]:
        """Backward passes inside do not share gradients; those of FSDP do unless `keeps_whole_gradients`."""
        wrapper = self._wrapper(module)
        if not enabled or wrapper is None or wrapper._wrapped is None:
            return _NOTHING
        return self.strategy.no_backward_sync(wrapper._wrapped)

    def autocast(self) -> AbstractContextManager[Any]:
        """The context of the precision's forward passes, for what runs outside the module."""
        return self.precision.forward_context()

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

    def barrier(self, name: str | None = None) -> None:
        """Wait for all ranks."""
        self.strategy.barrier(name)

    def broadcast(self, obj: Any, src: int = 0) -> Any:
        """The object of rank `src`, on all ranks."""
        return self.strategy.broadcast(obj, src)

    def all_reduce(self, data: Any, reduce_op: str = "mean", group: Any = None) -> Any:
        """Reduced over the ranks: "mean", "sum", "min" or "max"; the data itself with one rank."""
        return self.strategy.all_reduce(data, reduce_op, group)

    def all_gather(self, data: Any, group: Any = None, sync_grads: bool = False) -> Any:
        """All ranks' tensors with a new first dimension of world size; the data itself with one rank."""
        return self.strategy.all_gather(data, group, sync_grads)

    @contextmanager
    def rank_zero_first(self, local: bool = False) -> Iterator[None]:
        """Rank zero (of this machine if `local`) runs the block before the others do."""
        first = (self.local_rank if local else self.global_rank) == 0
        if not first:
            self.barrier()
        yield
        if first:
            self.barrier()
        self.barrier()

    def save(self, path: Any, state: Mapping[str, Any], filter: states.Filter | None = None) -> None:
        """Write a checkpoint from rank zero, whole or not at all; every rank must call.

        Modules, optimizers and whatever has a `state_dict` are saved by it. `filter[key](name, value)` says what of
        that to keep.
        """
        self.strategy.save_checkpoint(path, states.collect(state, filter))

    def load(
        self, path: Any, state: MutableMapping[str, Any] | None = None, strict: bool = True, *, weights_only: Any = None
    ) -> dict[str, Any]:
        """Read a checkpoint onto the CPU, into the objects of `state` if given; returns what no object took.

        Files never run code, whatever `weights_only` says.
        """
        loaded = self.strategy.load_checkpoint(path)
        return loaded if state is None else states.distribute(loaded, state, strict, str(path))

    def load_raw(self, path: Any, obj: Any, strict: bool = True, *, weights_only: Any = None) -> None:
        """Read a file that holds one state dict into a module or optimizer."""
        states.restore(obj, self.strategy.load_checkpoint(path), strict)

    @property
    def requeue_signal(self) -> int | None:
        """The signal by which the cluster's scheduler gives warning, where it starts the job again; else None."""
        return getattr(self.strategy.environment, "requeue_signal", None)

    def requeue(self) -> None:
        """Have the cluster's scheduler start the job again; nothing where there is none."""
        if self.strategy.environment is not None:
            self.strategy.environment.requeue()

    def stop_together(self, heard: Callable[[int], None]) -> StopAgreement | None:
        """How all ranks come to stop at the same step (see `StopAgreement`); None with one process."""
        self._runs += 1
        return StopAgreement(self._runs, heard) if self._launched and self.world_size > 1 else None

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
            values = {k: v.item() if isinstance(v, Tensor) else v for k, v in metrics.items()}
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


_NOTHING = nullcontext()
_ORDINARY = ("32-true", torch.float32)


class _Plugins:
    """The precision, the environment and the place for checkpoints among what was passed as `plugins`."""

    def __init__(self, plugins: Any, precision: Any) -> None:
        self.precision = precision
        self.environment: ClusterEnvironment | None = None
        self.checkpoint_io: CheckpointIO | None = None
        for plugin in _listed(plugins):
            if isinstance(plugin, Precision) and precision is None:
                self.precision = plugin
            elif isinstance(plugin, Precision):
                raise ValueError(f"Both `precision={precision!r}` and a precision plugin were given. Pass one of them.")
            elif isinstance(plugin, ClusterEnvironment):
                self.environment = plugin
            elif isinstance(plugin, CheckpointIO) and self.checkpoint_io is not None:
                raise ValueError("Two plugins say where checkpoints go. Pass one `CheckpointIO`.")
            elif isinstance(plugin, CheckpointIO):
                self.checkpoint_io = plugin
            else:
                raise TypeError(
                    "`plugins` takes a `Precision`, a `ClusterEnvironment` or a `CheckpointIO`, got a "
                    f"`{type(plugin).__name__}`. Leave it out."
                )


def _listed(value: Any) -> list[Any]:
    return [] if value is None else list(value) if isinstance(value, (list, tuple)) else [value]


def _bare(optimizer: Any) -> Any:
    return optimizer.optimizer if isinstance(optimizer, FabricOptimizer) else optimizer


def _in_process(fabric: Fabric, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    fabric._enter()
    try:
        return fabric._call(function, args, kwargs)
    finally:
        if sys.exc_info()[0] is None:  # after a failure the others are gone, and leaving in order would wait for them
            fabric.teardown()


def _lacks_fabric(function: Callable[..., Any], args: Any, kwargs: Any) -> bool:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return False
    if next(iter(signature.parameters), None) == "fabric" and "fabric" not in kwargs:
        return True
    try:
        signature.bind(*args, **kwargs)
    except TypeError:
        try:
            signature.bind(None, *args, **kwargs)
        except TypeError:
            return False
        return True
    return False


if TYPE_CHECKING:
    from lt_interfaces import Engine

    _satisfies: type[Engine] = Fabric
