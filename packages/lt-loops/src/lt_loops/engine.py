"""The engine that needs no other package: one process, 32 bits, the model where it is."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import lt_checkpoint
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map


class SingleDevice:
    """Trains on one device, without scaling, casting or other processes; `lt_accel.Fabric` does the rest."""

    world_size = 1
    global_rank = local_rank = node_rank = 0
    is_global_zero = True
    scaler = None
    device_mesh = None
    steps_plainly = True
    requeue_signal = None

    def __init__(
        self, device: torch.device | str | None = None, checkpoint_io: lt_checkpoint.CheckpointIO | None = None
    ) -> None:
        self.checkpoint_io = checkpoint_io or lt_checkpoint.CheckpointIO()
        self._moves = device is not None
        self.device = torch.device(device or "cpu")

    def launch(self, function: Callable[..., Any] | None = None, *args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs) if function else None

    def setup_module(self, module: Any) -> Any:
        if self._moves:
            return module.to(self.device)
        first = next(module.parameters(), None) if isinstance(module, nn.Module) else None
        if first is not None:
            self.device = first.device
        return module

    def setup_optimizers(self, *optimizers: Any) -> Any:
        return optimizers[0] if len(optimizers) == 1 else optimizers

    def setup_dataloaders(self, *loaders: Any, **_: Any) -> Any:
        return loaders[0] if len(loaders) == 1 else loaders

    def bind(self, module: Any, method: str) -> Callable[..., Any]:
        bound: Callable[..., Any] = getattr(module, method)
        return bound

    def to_device(self, obj: Any) -> Any:
        if self.device.type == "cpu":
            return obj
        return tree_map(lambda x: x.to(self.device, non_blocking=True) if isinstance(x, Tensor) else x, obj)

    def backward(self, tensor: Tensor, *args: Any, **kwargs: Any) -> None:
        tensor.backward(*args, **kwargs)  # type: ignore[no-untyped-call]

    def scale_loss(self, loss: Tensor) -> Tensor:
        return loss

    def unscale_gradients(self, optimizer: Any) -> None:
        """Nothing is ever scaled here."""

    def optimizer_step(self, optimizer: Any, closure: Callable[[], Any] | None = None) -> bool:
        if closure is None:
            optimizer.step()
        else:
            optimizer.step(closure)
        return True

    def clip_gradients(
        self, module: Any, optimizer: Any, clip_val: float | None = None, max_norm: float | None = None
    ) -> Any:
        params = [p for group in optimizer.param_groups for p in group["params"]]
        if clip_val is not None:
            return nn.utils.clip_grad_value_(params, clip_val)
        return None if max_norm is None else nn.utils.clip_grad_norm_(params, max_norm)

    def no_backward_sync(self, module: Any, enabled: bool = True) -> AbstractContextManager[Any]:
        return nullcontext()

    def barrier(self, name: str | None = None) -> None:
        """There is nobody to wait for."""

    def broadcast(self, obj: Any, src: int = 0) -> Any:
        return obj

    def all_reduce(self, data: Any, reduce_op: str = "mean") -> Any:
        return data

    def all_gather(self, data: Any, group: Any = None, sync_grads: bool = False) -> Any:
        return data

    def save(self, path: Any, state: dict[str, Any]) -> None:
        self.checkpoint_io.save_checkpoint(state, path)

    def load(self, path: Any) -> dict[str, Any]:
        return self.checkpoint_io.load_checkpoint(path)

    def stop_together(self, heard: Callable[[int], None]) -> None:
        """There is nobody to agree with."""

    def requeue(self) -> None:
        """No scheduler is known here."""

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """There is no state."""

    def teardown(self) -> None:
        """Nothing was started."""
