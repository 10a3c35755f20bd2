"""What a strategy is: this process's place among the others, and what they do together."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar

import lt_checkpoint
import torch
from lt_interfaces import MisconfigurationException
from torch import Tensor, nn

from lt_accel.accelerators import Accelerator
from lt_accel.collectives import alone, check_operation
from lt_accel.environments import ClusterEnvironment
from lt_accel.precision import Precision


class Strategy:
    """One process alone, where everything shared is nothing to do; subclass it to share work.

    A subclass for several processes overrides the collectives, `join`, `wrap` and what else it does its own way.
    """

    distributed: ClassVar[bool] = False
    shards_modules: ClassVar[bool] = False
    """True if each rank has a part of the module: then forward passes are shared in evaluation, too."""
    device_mesh: Any = None
    checkpoint_io = lt_checkpoint.CheckpointIO()
    """Where checkpoints go."""
    start_method: str = "none"
    accelerator: Accelerator | None = None
    environment: ClusterEnvironment | None = None
    device = torch.device("cpu")
    num_processes = 1
    num_nodes = 1
    world_size = 1
    global_rank = 0
    local_rank = 0
    node_rank = 0

    @property
    def root_device(self) -> torch.device:
        """Lightning's name for `device`."""
        return self.device

    @property
    def data_place(self) -> tuple[int, int]:
        """Into how many parts the data is dealt, and which is this rank's."""
        return self.world_size, self.global_rank

    @property
    def is_global_zero(self) -> bool:
        """True in the process that writes files and messages."""
        return self.global_rank == 0

    def connect(
        self, accelerator: Accelerator, devices: list[torch.device], num_nodes: int, environment: ClusterEnvironment
    ) -> None:
        """Take the devices of this machine; nothing is opened or started."""
        if len(devices) > 1 or num_nodes > 1:
            raise MisconfigurationException(
                f"`strategy='single_device'` uses one device, but {len(devices)} x {num_nodes} were asked for. "
                "Pass `devices=1, num_nodes=1` or `strategy='ddp'`."
            )
        self.accelerator, self.environment = accelerator, environment
        self.device = devices[0]

    def join(self) -> None:
        """Make the device this process's own and enter the group, if there is one."""
        if self.accelerator is not None:
            self.accelerator.setup_device(self.device)

    def leave(self) -> None:
        """Leave the group, let go of the device."""
        if self.accelerator is not None:
            self.accelerator.teardown()

    def inner(self, module: nn.Module) -> nn.Module:
        """The user's module in one that somebody else has wrapped, if this strategy can use the wrapper."""
        return module

    def wrap(self, module: nn.Module, precision: Precision) -> Any:
        """An object whose `run(function, *args)` shares the gradients of a method; None if there are none to share."""
        return None

    def setup_optimizer(self, optimizer: Any) -> Any:
        """Called with each optimizer that is set up; returns what is to be stepped in its place."""
        return optimizer

    def init_device(self, empty: bool) -> torch.device:
        """Where modules are made, `empty` if their values are of no use."""
        return self.device

    def clip_norm(self, parameters: list[Any], max_norm: float, norm_type: float, error_if_nonfinite: bool) -> Tensor:
        """Clip the gradients by their total norm; returns the norm before."""
        return nn.utils.clip_grad_norm_(parameters, max_norm, norm_type, error_if_nonfinite)

    def clip_value(self, parameters: list[Any], max_value: float) -> None:
        """Clip each number of the gradients."""
        with_gradients = [p for p in parameters if p.grad is not None]
        if with_gradients:
            nn.utils.clip_grad_value_(with_gradients, max_value)

    def before_backward(self, loss: Tensor) -> None:
        """Called with the loss when its gradients are about to be computed."""

    def before_step(self) -> None:
        """Called when they are there, before an optimizer steps."""

    def after_step(self, optimizer: Any) -> None:
        """Called when it has stepped, or left the step out."""

    def dtypes(self, precision: Precision) -> tuple[torch.dtype, torch.dtype | None]:
        """What is computed in and what gradients are reduced in; None if the module itself says that."""
        return precision.compute_dtype, precision.param_dtype

    def no_backward_sync(self, wrapped: Any) -> AbstractContextManager[Any]:
        """Gradients inside stay on this rank; `wrapped` is what `wrap` returned."""
        return nullcontext()

    def barrier(self, name: str | None = None) -> None:
        """Wait for all ranks."""

    def broadcast(self, obj: Any, src: int = 0) -> Any:
        """The object of rank `src`."""
        return obj

    def all_reduce(self, data: Any, reduce_op: str = "mean", group: Any = None) -> Any:
        """Reduced over the ranks."""
        check_operation(reduce_op)
        return alone(data, self.device)

    def all_gather(self, data: Any, group: Any = None, sync_grads: bool = False) -> Any:
        """All ranks' values."""
        return alone(data, self.device)

    def save_checkpoint(self, path: Any, state: dict[str, Any]) -> None:
        """Write from rank zero; if it fails there, it fails everywhere."""
        error: BaseException | None = None
        if self.is_global_zero:
            try:
                self.checkpoint_io.save_checkpoint(state, path)
            except Exception as raised:
                error = raised
        told = self.broadcast(None if error is None else f"{type(error).__name__}: {error}")
        if error is not None:
            raise error
        if told is not None:
            raise RuntimeError(f"Rank 0 could not write the checkpoint {str(path)!r}: {told}")

    def load_checkpoint(self, path: Any) -> dict[str, Any]:
        """Read, on every rank."""
        state: dict[str, Any] = self.checkpoint_io.load_checkpoint(path)
        return state
