"""What strategies share that leave each rank a part of the module: forward passes, norms, states, checkpoints."""

import itertools
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any
from weakref import WeakSet

import torch
import torch.distributed as dist
from lt_checkpoint import sharded
from lt_interfaces import MisconfigurationException
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from lt_accel.precision import Precision
from lt_accel.seed import global_seed, seeded
from lt_accel.strategies.parallel import ParallelStrategy
from lt_accel.strategies.redirection import run_as_forward
from lt_accel.transfer import map_tensors

_seen: WeakSet[nn.Module] = WeakSet()  # distributed by a strategy, in whatever group that was


class ShardedStrategy(ParallelStrategy):
    """Parameters are `DTensor`s; subclasses make them so in `shard`.

    A module and its optimizers that were set up load full states, and those of `lt_checkpoint.sharded.load`, by their
    own `load_state_dict`: each rank takes its part.
    """

    shards_modules = True
    saves_shards = False
    keeps_whole_gradients = False
    """True if `no_backward_sync` leaves whole gradients on each rank, where a checkpoint does not find them."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._wrapped: dict[nn.Module, Wrapped] = {}

    @property
    def parameter_device(self) -> torch.device:
        """Where each rank keeps its part of the parameters."""
        return self.device

    def shard(self, module: nn.Module, precision: Precision) -> nn.Module:
        """Distribute the parameters; returns the module whose `forward` is to be called, `module` or one around it."""
        raise NotImplementedError

    def inner(self, module: nn.Module) -> nn.Module:
        if isinstance(module, DistributedDataParallel):
            raise MisconfigurationException(
                f"This module is in a `DistributedDataParallel`, which copies what `{type(self).__name__}` would share "
                "out. Pass the module in it, `.module`, or use `strategy='ddp'`."
            )
        return module

    def wrap(self, module: nn.Module, precision: Precision) -> "Wrapped":
        if module not in self._wrapped:
            if module in _seen:
                raise RuntimeError(
                    f"This `{type(module).__name__}` was distributed over a group of processes that has ended. Make a "
                    "new one, and load what was saved."
                )
            _seen.add(module)
            make_copies_equal(module)
            root = self.shard(module, precision)
            materialize(root, self.parameter_device, self.device)
            make_copies_equal(module)
            module.register_load_state_dict_pre_hook(_spread_weights)  # type: ignore[no-untyped-call]
            self._wrapped[module] = Wrapped(module, root)
        return self._wrapped[module]

    def setup_optimizer(self, optimizer: Any) -> Any:
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        if self._wrapped and parameters and not any(isinstance(p, DTensor) for p in parameters):
            raise RuntimeError(
                f"The optimizer `{type(optimizer).__name__}` was made before its module was set up, which replaced the "
                "parameters. Make it afterwards, or set both up in one call: `fabric.setup(module, optimizer)`."
            )
        if hasattr(optimizer, "register_load_state_dict_pre_hook"):
            optimizer.register_load_state_dict_pre_hook(_spread_moments)
        return optimizer

    def init_device(self, empty: bool) -> torch.device:
        return torch.device("meta") if empty else self.device

    def leave(self) -> None:
        self._wrapped.clear()
        super().leave()

    @contextmanager
    def _unsynchronised(self, wrapped: "Wrapped") -> Iterator[None]:
        wrapped.set_gradient_sync(False)
        try:
            yield
        finally:
            wrapped.set_gradient_sync(True)

    def no_backward_sync(self, wrapped: Any) -> AbstractContextManager[Any]:
        return self._unsynchronised(wrapped) if self.keeps_whole_gradients else nullcontext()

    def clip_norm(self, parameters: list[Any], max_norm: float, norm_type: float, error_if_nonfinite: bool) -> Tensor:
        alike: dict[Any, list[Any]] = {}
        for p in parameters:
            if p.grad is not None:
                key = (p.grad.device_mesh, p.grad.placements) if isinstance(p.grad, DTensor) else None
                alike.setdefault(key, []).append(p)
        total = self._total_norm(alike.values(), norm_type)
        if error_if_nonfinite and not torch.isfinite(total):
            raise RuntimeError(f"The total norm of the gradients is {total.item()}. Look for what made it so.")
        for group in alike.values():
            nn.utils.clip_grads_with_norm_(group, max_norm, total)
        return total

    def _total_norm(self, groups: Iterable[list[Any]], norm_type: float) -> Tensor:
        """From the parts of all ranks, in one exchange; what several ranks hold alike counts once."""
        is_largest = norm_type == float("inf")
        total = torch.zeros((), device=self.device)
        for group in groups:
            grad = group[0].grad
            parts = 1
            if isinstance(grad, DTensor):
                parts = math.prod(
                    grad.device_mesh.size(i) for i, p in enumerate(grad.placements) if not p.is_replicate()
                )
            local = [p.grad.to_local() if isinstance(p.grad, DTensor) else p.grad for p in group]
            local = [part for part in local if part.numel()]  # a rank may have nothing of a small parameter
            if not local:
                continue
            norm = nn.utils.get_total_norm(local, norm_type).to(total)
            total = torch.maximum(total, norm) if is_largest else total + norm**norm_type * parts / self.world_size
        dist.all_reduce(total, dist.ReduceOp.MAX if is_largest else dist.ReduceOp.SUM)
        return total if is_largest else total ** (1 / norm_type)

    def save_checkpoint(self, path: Any, state: dict[str, Any]) -> None:
        """A folder of shards, or one file from rank zero that holds all in full."""
        if self.saves_shards:
            sharded.save(state, path, checkpoint_io=self.checkpoint_io)
        else:
            super().save_checkpoint(path, map_tensors(state, self._gathered))

    def load_checkpoint(self, path: Any) -> dict[str, Any]:
        """Read; of a folder of shards, the sharded tensors are left on disk until a module or optimizer loads them."""
        self.checkpoint_io.flush()
        if sharded.is_folder(path):
            return sharded.load(path)
        return super().load_checkpoint(path)

    def _gathered(self, tensor: Tensor) -> Tensor:
        if not isinstance(tensor, DTensor):
            return tensor
        full = tensor.full_tensor()
        return full.cpu() if self.is_global_zero else full.new_empty(0)


class Wrapped:
    """Runs methods of a module with its parameters gathered when they are needed."""

    def __init__(self, module: nn.Module, root: nn.Module) -> None:
        self._root, self._is_ours = root, root is not module
        self._sharded = [m for m in root.modules() if isinstance(m, FSDPModule)]

    def run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """`function` as the forward pass of the root, if that is where gathering begins."""
        root = self._root
        if self._is_ours:
            return root(function, *args, **kwargs)
        if not isinstance(root, FSDPModule):
            return function(*args, **kwargs)
        return run_as_forward(root, root, function, args, kwargs)

    def set_gradient_sync(self, enabled: bool) -> None:
        """Whether backward passes share their gradients."""
        for module in self._sharded:
            module.set_requires_gradient_sync(enabled, recurse=False)


class Root(nn.Module):
    """What is sharded in place of the user's module, whose class stays its own; any method can be the forward pass."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)


def make_copies_equal(module: nn.Module) -> None:
    """What several ranks hold alike is made what the first of them holds."""
    for tensor in itertools.chain(module.parameters(), module.buffers()):
        if tensor.is_meta:
            continue
        if not isinstance(tensor, DTensor):
            _broadcast(tensor.detach(), None)
            continue
        for i, placement in enumerate(tensor.placements):
            if placement.is_replicate():
                _broadcast(tensor.to_local().detach(), tensor.device_mesh.get_group(i))


def _broadcast(tensor: Tensor, group: Any) -> None:
    sent = tensor.contiguous()
    dist.broadcast(sent, group=group, group_src=0)
    if sent is not tensor:
        tensor.copy_(sent)


def materialize(module: nn.Module, device: torch.device, buffer_device: torch.device) -> None:
    """Give a module that was made on the meta device memory and its initial values."""
    tensors = [*module.parameters(), *module.buffers()]
    if not any(t.is_meta for t in tensors):
        return
    owners = [m for m in module.modules() if any(t.is_meta for t in [*m.parameters(False), *m.buffers(False)])]
    helpless = [type(m).__name__ for m in owners if not callable(getattr(m, "reset_parameters", None))]
    if helpless or not all(t.is_meta for t in tensors):
        fact = f"`{helpless[0]}` has no `reset_parameters`" if helpless else "other parts of the module have values"
        raise MisconfigurationException(
            f"Parameters are on the meta device and cannot be initialised: {fact}. Make the whole module there, of "
            "parts with `reset_parameters`, or none of it."
        )
    module.to_empty(device=device)
    for buffer in module.buffers():
        buffer.data = buffer.data.to(buffer_device)
    # Seeded, or every rank would draw the same numbers for its part; torch warns that on the CPU it does not see to it.
    with seeded(global_seed() + dist.get_rank()), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="DTensor random operators")
        for owner in owners:
            owner.reset_parameters()  # type: ignore[operator]


def _spread_weights(module: nn.Module, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
    """A module's own tensors are distributed; those that it is about to load are made so."""
    own = itertools.chain(module.named_parameters(remove_duplicate=False), module.named_buffers(remove_duplicate=False))
    for name, tensor in own:
        if prefix + name in state_dict:
            state_dict[prefix + name] = _spread(state_dict[prefix + name], tensor)


def _spread_moments(optimizer: Any, state_dict: Mapping[str, Any]) -> dict[str, Any]:
    """The same for an optimizer's state, whose tensors of a parameter's shape are distributed as the parameter is."""
    parameters = (p for group in optimizer.param_groups for p in group["params"])
    owners = dict(zip((i for group in state_dict["param_groups"] for i in group["params"]), parameters, strict=False))
    state = {
        i: {name: _spread(value, owners.get(i)) for name, value in values.items()}
        for i, values in state_dict["state"].items()
    }
    return {**state_dict, "state": state}


def _spread(value: Any, like: Any) -> Any:
    if isinstance(value, DTensor) or not isinstance(value, (Tensor, sharded.StoredTensor)):
        return value
    if isinstance(like, DTensor) and value.shape == like.shape:
        return sharded.distributed(value, like)
    return value.read() if isinstance(value, sharded.StoredTensor) else value
