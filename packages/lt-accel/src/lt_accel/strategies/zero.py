"""A module and its optimizer as DeepSpeed's engine has them, dealt out over the ranks."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.distributed as dist
from lt_interfaces import MisconfigurationException
from torch import Tensor, nn

from lt_accel.strategies.redirection import run_as_forward


class ZeroModule:
    """A module and, once its optimizer is there, the DeepSpeed engine that trains both."""

    def __init__(self, module: nn.Module, config: dict[str, Any], strategy: Any) -> None:
        self.module = module
        self.strategy = strategy
        self.engine: Any = None
        self._config = config
        self._handles: list[Any] = []
        self._gathered: Any = None
        self._is_whole = True
        self._is_inside = False

    def open(self, deepspeed: Any, optimizer: Any) -> "ZeroOptimizer":
        """Start the engine; returns what steps by it."""
        name, own = type(optimizer).__name__, {id(p) for p in self.module.parameters()}
        if isinstance(optimizer, torch.optim.LBFGS):
            raise MisconfigurationException(
                f"`{name}` evaluates the loss several times a step, which DeepSpeed cannot. Use `strategy='ddp'`."
            )
        if any(id(p) not in own for group in optimizer.param_groups for p in group["params"]):
            raise MisconfigurationException(
                f"`{name}` has parameters that are not of `{type(self.module).__name__}`, and DeepSpeed trains one "
                "module. Set up one that holds them all."
            )
        if self.engine is not None:
            raise MisconfigurationException(
                f"`{type(self.module).__name__}` has an optimizer already, and DeepSpeed takes one for good. Use "
                "`strategy='fsdp'` for several; to train on later, make the module, the strategy and the optimizer "
                "anew and load what was saved."
            )
        self.engine, *_ = deepspeed.initialize(model=self.module, optimizer=optimizer, config=dict(self._config))
        self.engine.set_gradient_accumulation_boundary(True)
        self._gather = deepspeed.zero.GatheredParameters
        module: Any = self.module
        self._handles = [module.register_load_state_dict_post_hook(self._loaded)]
        if self.strategy.stage == 3:
            self._handles += [
                module.register_load_state_dict_pre_hook(lambda *_: self._enter(0)),
                module.register_state_dict_pre_hook(lambda *_: self._enter(None)),
                module.register_state_dict_post_hook(lambda *given: self._saved(*given)),
            ]
        return ZeroOptimizer(optimizer, self)

    def close(self) -> None:
        """Let go of what DeepSpeed holds; the module is of no further use."""
        for handle in self._handles:
            handle.remove()
        if self.engine is not None and dist.is_initialized():  # else its group is gone, and it asks for its rank there
            self.engine.destroy()
        self.engine = None

    def run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """`function` as the engine's forward pass; directly where the module is whole and no gradients are recorded."""
        if self.engine is None or (self.strategy.stage < 3 and not torch.is_grad_enabled()):
            if self.engine is None and torch.is_grad_enabled() and self.module.training:
                raise RuntimeError(
                    f"`{type(self.module).__name__}` has no optimizer, without which DeepSpeed shares no gradients. "
                    "Set one up, or compute without gradients."
                )
            return function(*args, **kwargs)
        was_inside, self._is_inside = self._is_inside, True
        try:
            if not torch.is_inference_mode_enabled():
                return run_as_forward(self.module, self.engine, function, args, kwargs)
            with torch.inference_mode(False), torch.no_grad():  # what stays gathered must be of use in training
                return run_as_forward(self.module, self.engine, function, args, kwargs)
        finally:
            self._is_inside = was_inside

    @contextlib.contextmanager
    def accumulating(self) -> Iterator[None]:
        """Backward passes inside belong to a step that is not complete."""
        if self.engine is None:
            yield
            return
        self.engine.set_gradient_accumulation_boundary(False)
        try:
            yield
        finally:
            self.engine.set_gradient_accumulation_boundary(True)

    def note_backward(self) -> None:
        """Remember whether the gradients will be whole; MisconfigurationException where DeepSpeed would miss them."""
        if self._is_inside:
            raise MisconfigurationException(
                f"A backward pass ran inside the forward pass of `{type(self.module).__name__}`, as in manual "
                "optimization, and DeepSpeed would not share its gradients. Return the loss from `training_step`, or "
                "use `strategy='fsdp'`."
            )
        self._is_whole = self.engine is None or self.engine.is_gradient_accumulation_boundary()

    def clip(self, max_norm: float) -> Tensor:
        """Have the next step clipped; returns the norm of the gradients."""
        zero = self.engine.optimizer
        zero.clip_grad = max_norm
        if self.strategy.stage < 3:
            total = torch.as_tensor(zero.scaled_global_norm())
        else:
            total = torch.stack([torch.as_tensor(norm) for norm in zero._get_norm_groups()]).norm()
        return total.float()

    def step(self) -> None:
        """The engine's step; RuntimeError if it would be, or was, none."""
        if not self._is_whole:
            raise RuntimeError(
                "The data ended inside an accumulation window, and DeepSpeed cannot step on half of one. Use as many "
                "batches as `accumulate_grad_batches` divides, e.g. by `limit_train_batches`."
            )
        self.engine.step()
        self.engine.optimizer.clip_grad = 0.0
        if not self.engine.was_step_applied():
            raise FloatingPointError(
                "Gradients were not finite, and DeepSpeed left the step out. Look at that batch; a lower learning rate "
                "or `gradient_clip_val` often helps."
            )

    def parts(self) -> list[Tensor]:
        """This rank's flat parts of the parameters, as the optimizer sees them."""
        zero = self.engine.optimizer
        return zero.fp32_partitioned_groups_flat if self.strategy.stage == 3 else zero.single_partition_of_fp32_groups  # type: ignore[no-any-return]

    def _enter(self, writer: int | None) -> None:
        self._gathered = self._gather(list(self.module.parameters()), modifier_rank=writer)
        self._gathered.__enter__()

    def _saved(self, module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
        first = self.strategy.is_global_zero
        for name, _p in module.named_parameters(remove_duplicate=False):
            whole = state[prefix + name]
            state[prefix + name] = whole.cpu().clone() if first else torch.empty_like(whole, device="meta")
        self._gathered.__exit__(None, None, None)

    def _loaded(self, *_: Any) -> None:
        if self.strategy.stage == 3:
            self._gathered.__exit__(None, None, None)
        self.engine.optimizer.refresh_fp32_params()


class ZeroOptimizer(torch.optim.Optimizer):
    """Steps by the engine; its state is saved whole and fits the stage and the number of ranks it was saved under."""

    _optimizer: Any
    _module: ZeroModule

    def __init__(self, optimizer: Any, module: ZeroModule) -> None:
        self.__dict__.update(_optimizer=optimizer, _module=module, defaults=optimizer.defaults)

    @property
    def param_groups(self) -> Any:  # type: ignore[override]
        return self._optimizer.param_groups

    @property
    def state(self) -> Any:  # type: ignore[override]
        return self._optimizer.state

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """The closure's gradients and the engine's step."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self._module.step()
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Nothing is left of a step that was made; what was not stepped on is dropped."""
        self._module.engine.optimizer.zero_grad()

    def state_dict(self) -> dict[str, Any]:
        """Every rank must call it; the tensors are all ranks' parts, on rank zero."""
        strategy, parts = self._module.strategy, self._module.parts()

        def gathered(value: Any) -> Any:
            if not isinstance(value, Tensor):
                return value
            whole = strategy.all_gather(value.detach().to(strategy.device)).reshape(-1, *value.shape)
            return whole.cpu() if strategy.is_global_zero else None

        return {
            "deepspeed": self._kind(),
            "parameters": [gathered(part) for part in parts],
            "state": [{k: gathered(v) for k, v in self.state.get(part, {}).items()} for part in parts],
            "param_groups": [{k: v for k, v in group.items() if k != "params"} for group in self.param_groups],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        saved, mine = state_dict.get("deepspeed"), self._kind()
        if saved != mine:
            raise MisconfigurationException(
                f"The optimizer's state was saved under {saved or 'another strategy'}, and this run is {mine}. Train "
                "with what it was saved under, or go on from the weights alone."
            )
        rank = self._module.strategy.global_rank
        counts_on_device = any(group.get("fused") or group.get("capturable") for group in self.param_groups)
        for part, whole, state in zip(self._module.parts(), state_dict["parameters"], state_dict["state"], strict=True):
            part.data.copy_(whole[rank])
            own = self.state.setdefault(part, {})
            for name, value in state.items():
                if not isinstance(value, Tensor):
                    own[name] = value
                elif isinstance(own.get(name), Tensor):
                    own[name].copy_(value[rank])
                else:
                    moves = value.dim() > 1 or counts_on_device
                    own[name] = value[rank].clone().to(part.device if moves else "cpu")
        for group, values in zip(self.param_groups, state_dict["param_groups"], strict=True):
            group.update(values)

    def _kind(self) -> dict[str, int]:
        return {"stage": self._module.strategy.stage, "world_size": self._module.strategy.world_size}
