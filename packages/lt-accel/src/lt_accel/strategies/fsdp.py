"""Each rank keeps a part of every parameter, gathered when it is needed: torch's `fully_shard`."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from lt_interfaces import MisconfigurationException, did_you_mean
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import CPUOffloadPolicy, FSDPModule, MixedPrecisionPolicy, OffloadPolicy, fully_shard
from torch.utils.checkpoint import checkpoint

from lt_accel.accelerators import Accelerator
from lt_accel.environments import ClusterEnvironment
from lt_accel.precision import Precision
from lt_accel.strategies.sharded import Root, ShardedStrategy

Policy = Callable[..., bool] | set[type[nn.Module]] | None

_CONTAINERS = (nn.ModuleList, nn.ModuleDict)  # they have no forward pass, so what is in them is gathered
_SHARDINGS = ("FULL_SHARD", "SHARD_GRAD_OP", "HYBRID_SHARD", "_HYBRID_SHARD_ZERO2", "NO_SHARD")


class FSDPStrategy(ShardedStrategy):
    """Fully sharded data parallel training; further keywords go to `torch.distributed.fsdp.fully_shard`.

    `auto_wrap_policy` says which submodules are gathered as one: a set of classes, or one of torch's policies, called
    with `(module, recurse, nonwrapped_numel)`; by default the direct children. `activation_checkpointing_policy` are
    the classes whose activations are computed again in the backward pass. `device_mesh=(2, 4)` keeps 2 copies over 4
    ranks each. `state_dict_type` is "full", one file that loads everywhere, or "sharded", a folder. While gradients are
    accumulated, `keeps_whole_gradients=True` exchanges them once a window: faster, but each rank then has all of them,
    and a checkpoint in the middle of a window lacks them.
    """

    def __init__(
        self,
        *,
        auto_wrap_policy: Policy = None,
        activation_checkpointing_policy: set[type[nn.Module]] | None = None,
        mixed_precision: MixedPrecisionPolicy | None = None,
        cpu_offload: bool | OffloadPolicy = False,
        sharding_strategy: str = "FULL_SHARD",
        device_mesh: tuple[int, int] | DeviceMesh | None = None,
        state_dict_type: str = "full",
        keeps_whole_gradients: bool = False,
        process_group_backend: str | None = None,
        timeout: Any = None,
        start_method: str = "popen",
        **kwargs: Any,
    ) -> None:
        super().__init__(process_group_backend=process_group_backend, timeout=timeout, start_method=start_method)
        known = {"reshard_after_forward", "shard_placement_fn", "ignored_params"}
        for name in kwargs:
            if name not in known:
                raise TypeError(f"`FSDPStrategy` takes no argument `{name}`. {did_you_mean(name, known)}")
        for name, value, choices in (
            ("state_dict_type", state_dict_type, ("full", "sharded")),
            ("sharding_strategy", sharding_strategy, _SHARDINGS),
        ):
            if value not in choices:
                raise ValueError(f"There is no `{name}` {value!r}. {did_you_mean(str(value), choices)}")
        if sharding_strategy == "NO_SHARD":
            raise ValueError("`sharding_strategy='NO_SHARD'` shards nothing. Use `strategy='ddp'`.")
        self._chosen = _chooser(auto_wrap_policy)
        self._recomputed = tuple(activation_checkpointing_policy or ())
        self._mixed_precision = mixed_precision
        self._offload = CPUOffloadPolicy() if cpu_offload is True else cpu_offload or OffloadPolicy()
        self._hybrid = sharding_strategy in _SHARDINGS[2:4]
        if sharding_strategy in ("SHARD_GRAD_OP", "_HYBRID_SHARD_ZERO2"):
            kwargs.setdefault("reshard_after_forward", False)
        self._given_mesh = device_mesh
        self.saves_shards = state_dict_type == "sharded"
        self.keeps_whole_gradients = keeps_whole_gradients
        self._kwargs = kwargs

    def connect(
        self, accelerator: Accelerator, devices: list[torch.device], num_nodes: int, environment: ClusterEnvironment
    ) -> None:
        super().connect(accelerator, devices, num_nodes, environment)
        if isinstance(self._offload, CPUOffloadPolicy) and self.device.type == "cpu":
            raise MisconfigurationException(
                "`cpu_offload` has nothing to do on the CPU. Use `strategy='fsdp'` there, or a GPU."
            )
        if isinstance(self._given_mesh, tuple) and (
            len(self._given_mesh) != 2 or self._given_mesh[0] * self._given_mesh[1] != self.world_size
        ):
            raise MisconfigurationException(
                f"`device_mesh={self._given_mesh!r}` does not fit {self.world_size} process(es). Pass (copies, ranks "
                "that share one copy), whose product is the number of processes."
            )

    def join(self) -> None:
        super().join()
        given = self._given_mesh
        if given is None and self._hybrid:
            given = (self.num_nodes, self.num_processes)
        if isinstance(given, tuple):
            given = init_device_mesh(self.device.type, given, mesh_dim_names=("replicate", "shard"))
        self.device_mesh = given or init_device_mesh(self.device.type, (self.world_size,), mesh_dim_names=("shard",))

    @property
    def parameter_device(self) -> torch.device:
        return torch.device("cpu") if isinstance(self._offload, CPUOffloadPolicy) else self.device

    def shard(self, module: nn.Module, precision: Precision) -> nn.Module:
        if any(isinstance(m, FSDPModule) for m in module.modules()):
            return module  # its author did it
        for part in [m for m in module.modules() if isinstance(m, self._recomputed)]:
            part.forward = partial(checkpoint, part.forward, use_reentrant=False)
        policy = self._policy(precision)
        apply = partial(fully_shard, mesh=self.device_mesh, offload_policy=self._offload, **self._kwargs)
        for unit in units(module, self._chosen):
            apply(unit, mp_policy=policy)
        # What enters the step is the user's batch, which autocast casts where it should be.
        outermost = MixedPrecisionPolicy(policy.param_dtype, policy.reduce_dtype, cast_forward_inputs=False)
        return apply(Root(module), mp_policy=outermost)  # type: ignore[return-value]

    def dtypes(self, precision: Precision) -> tuple[torch.dtype, torch.dtype | None]:
        policy = self._policy(precision)
        computed = policy.param_dtype or precision.compute_dtype
        return computed, policy.reduce_dtype or policy.param_dtype or precision.param_dtype

    def _policy(self, precision: Precision) -> MixedPrecisionPolicy:
        given, computed = self._mixed_precision, precision.compute_dtype
        if given is None:
            return _mixed_precision(precision)
        if given.param_dtype not in (None, computed) and computed != torch.float32:
            raise MisconfigurationException(
                f"`mixed_precision` of the strategy computes in {given.param_dtype}, and "
                f"`precision={precision.precision!r}` in {computed}. Leave one of them out."
            )
        return given


def units(module: nn.Module, chosen: Callable[[nn.Module], list[nn.Module]]) -> list[nn.Module]:
    """The submodules to be gathered as one, inner ones first; none that shares a parameter with what is outside it."""
    owners: dict[nn.Parameter, set[nn.Module]] = {}
    for owner in module.modules():
        for p in owner.parameters(recurse=False):
            owners.setdefault(p, set()).add(owner)

    def is_closed(unit: nn.Module) -> bool:
        inside = set(unit.modules())
        return all(owners[p] <= inside for p in unit.parameters())

    return [u for u in chosen(module) if u is not module and any(True for _ in u.parameters()) and is_closed(u)]


def _chooser(policy: Policy) -> Callable[[nn.Module], list[nn.Module]]:
    """The policy as a function from a module to its units."""
    if policy is None:
        return _children
    if isinstance(policy, (set, frozenset, list, tuple)):
        classes = tuple(policy)
        return partial(_of_classes, classes)
    if not callable(policy):
        raise TypeError(
            f"`auto_wrap_policy` must be a set of classes or a function, got {policy!r}. Pass one of these."
        )
    try:
        inspect.signature(policy).bind(None, recurse=True, nonwrapped_numel=0)
    except TypeError as error:
        raise TypeError(
            f"`auto_wrap_policy` is called with `(module, recurse, nonwrapped_numel)`, and {error}. Use one of "
            "`torch.distributed.fsdp.wrap`, or a set of classes."
        ) from error
    return partial(_by_policy, policy)


def _children(module: nn.Module) -> list[nn.Module]:
    found: list[nn.Module] = []
    for child in module.children():
        found += _children(child) if isinstance(child, _CONTAINERS) else [child]
    return found


def _of_classes(classes: tuple[type[nn.Module], ...], module: nn.Module) -> list[nn.Module]:
    return [m for m in reversed(list(module.modules())) if isinstance(m, classes)]  # inner ones come after outer ones


def _by_policy(policy: Callable[..., bool], module: nn.Module) -> list[nn.Module]:
    """As torch's own policies mean it: `recurse` asks whether to look inside, then whether to take what is left."""
    found: list[nn.Module] = []

    def visit(part: nn.Module) -> int:
        """How many numbers of the part are in units by now."""
        size = sum(p.numel() for p in part.parameters())
        if not policy(part, recurse=True, nonwrapped_numel=size):
            return 0
        taken = sum(visit(child) for child in part.children())
        if isinstance(part, _CONTAINERS) or not policy(part, recurse=False, nonwrapped_numel=size - taken):
            return taken
        found.append(part)
        return size

    visit(module)
    return found


def _mixed_precision(precision: Precision) -> MixedPrecisionPolicy:
    """Gathered and computed in the precision's dtype; gradients are summed in 32 bits at least."""
    low = precision.compute_dtype if precision.compute_dtype.itemsize == 2 else None
    return MixedPrecisionPolicy(
        param_dtype=None if precision.param_dtype == low else low, reduce_dtype=torch.float32 if low else None
    )
