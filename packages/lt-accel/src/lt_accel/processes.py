"""A Fabric's processes: started, joined into a group, exchanging values, stopped together."""

import functools
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch.distributed as dist

from lt_accel.precision import Precision
from lt_accel.process_launcher import launch_processes
from lt_accel.script_launcher import follow_parent, is_child, launch_script
from lt_accel.stop_agreement import StopAgreement
from lt_accel.strategies import Strategy


class Processes:
    """What of a `Fabric` concerns the other ranks."""

    strategy: Strategy
    precision: Precision
    _launched: bool
    _runs: int

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "run" in vars(cls):
            run = vars(cls)["run"]

            @functools.wraps(run)
            def launched(self: Any, *args: Any, **kwargs: Any) -> Any:
                return self.launch(functools.partial(run, self), *args, **kwargs)

            cls.run = launched  # type: ignore[method-assign]

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

    def _place(self) -> None:
        strategy = self.strategy
        self.device, self.world_size = strategy.device, strategy.world_size
        self.global_rank, self.local_rank, self.node_rank = (
            strategy.global_rank,
            strategy.local_rank,
            strategy.node_rank,
        )

    def _must_be_launched(self, name: str, joined: bool = False) -> None:
        if self.strategy.distributed and not (self._launched or joined):
            raise RuntimeError(f"`{name}` was called before the processes were started. Call `launch()` first.")

    def barrier(self, name: str | None = None) -> None:
        """Wait for all ranks."""
        self._must_be_launched("barrier", dist.is_initialized())
        self.strategy.barrier(name)

    def broadcast(self, obj: Any, src: int = 0) -> Any:
        """The object of rank `src`, on all ranks."""
        self._must_be_launched("broadcast", dist.is_initialized())
        return self.strategy.broadcast(obj, src)

    def all_reduce(self, data: Any, reduce_op: str = "mean", group: Any = None) -> Any:
        """Reduced over the ranks: "mean", "sum", "product", "min" or "max"; numbers become tensors."""
        self._must_be_launched("all_reduce", dist.is_initialized())
        return self.strategy.all_reduce(data, reduce_op, group)

    def all_gather(self, data: Any, group: Any = None, sync_grads: bool = False) -> Any:
        """All ranks' tensors with a new first dimension of world size, none with one rank; numbers become tensors."""
        self._must_be_launched("all_gather", dist.is_initialized())
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


def _in_process(fabric: Processes, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
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
