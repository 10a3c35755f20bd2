"""What a training loop asks of the device, the precision and the group of processes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch


class Engine(Protocol):
    """Device x precision x strategy behind one face; `lt_accel.Fabric` is one, lt-loops has a small one of its own.

    A loop written on it knows no device, no precision and no other process. Everything here also reads well in a
    hand-written loop.
    """

    device: torch.device
    world_size: int
    global_rank: int
    local_rank: int
    node_rank: int

    @property
    def is_global_zero(self) -> bool:
        """True in the process that writes files and messages."""

    @property
    def scaler(self) -> Any:
        """The gradient scaler of fp16 training, else None: then gradients are never scaled."""

    @property
    def device_mesh(self) -> Any:
        """torch's mesh of all ranks for modules that distribute themselves, else None."""

    @property
    def steps_plainly(self) -> bool:
        """True if `optimizer_step` does nothing but step, so that a loop may call the optimizer itself."""

    @property
    def requeue_signal(self) -> int | None:
        """The signal by which a cluster's scheduler gives warning and after which `requeue` is due, else None."""

    @property
    def checkpoint_io(self) -> Any:
        """Where checkpoints go: an `lt_checkpoint.CheckpointIO`, used on rank zero."""

    def launch(self, function: Callable[..., Any] | None = None, *args: Any, **kwargs: Any) -> Any:
        """Start the processes of the group and join it; then `function(*args, **kwargs)` in each, if given."""

    def setup_module(self, module: Any) -> Any:
        """The module on its device, in its dtype, wrapped for the strategy; returns what is to be called."""

    def setup_optimizers(self, *optimizers: Any) -> Any:
        """The optimizers as this engine steps them; one in, one out, else a tuple."""

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

    def bind(self, module: Any, method: str) -> Callable[..., Any]:
        """A method of a set-up module as it runs here: autocast, wrapper; the bare bound method if neither is."""

    def to_device(self, obj: Any) -> Any:
        """Tensors in any nesting, moved; the very same object if nothing has to move."""

    def backward(self, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> None:
        """Gradients of a loss, scaled where the precision scales."""

    def scale_loss(self, loss: torch.Tensor) -> torch.Tensor:
        """The loss as backward must see it; the loss itself without a scaler."""

    def unscale_gradients(self, optimizer: Any) -> None:
        """Gradients in true size, once per step; nothing to do without a scaler."""

    def optimizer_step(self, optimizer: Any, closure: Callable[[], Any] | None = None) -> bool:
        """Step; False if the scaler found infinite gradients and skipped it."""

    def clip_gradients(
        self, module: Any, optimizer: Any, clip_val: float | None = None, max_norm: float | None = None
    ) -> Any:
        """Clip unscaled gradients by value or by total norm; returns the norm before."""

    def no_backward_sync(self, module: Any, enabled: bool = True) -> AbstractContextManager[Any]:
        """Backward passes inside do not synchronise gradients over the ranks."""

    def barrier(self, name: str | None = None) -> None:
        """Wait for all ranks."""

    def broadcast(self, obj: Any, src: int = 0) -> Any:
        """The object of rank `src`, on all ranks."""

    def all_reduce(self, data: Any, reduce_op: str = "mean") -> Any:
        """Reduced over the ranks: "mean", "sum", "min" or "max"."""

    def all_gather(self, data: Any, group: Any = None, sync_grads: bool = False) -> Any:
        """All ranks' tensors with a new first dimension of world size; the data itself with one rank."""

    def save(self, path: Any, state: dict[str, Any]) -> None:
        """Write a checkpoint from rank zero, whole or not at all; every rank must call."""

    def load(self, path: Any) -> dict[str, Any]:
        """Read a checkpoint onto the CPU; plain values and tensors only."""

    def stop_together(self, heard: Callable[[int], None]) -> Any:
        """With several ranks an object whose `is_reached(step, signal_number)` says where all stop together.

        To be asked after each optimizer step once a signal came, or once `heard(signal_number)` was called, since it
        came to another rank; `close()` ends it. None with one process.
        """

    def requeue(self) -> None:
        """Have the cluster's scheduler start the job again; nothing if there is none."""

    def state_dict(self) -> dict[str, Any]:
        """State of the precision, e.g. the scaler's; empty if there is none."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a saved state."""

    def teardown(self) -> None:
        """Leave the group, stop what was started."""
