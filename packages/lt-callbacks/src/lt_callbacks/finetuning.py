"""Trains a part of the module first and the rest later."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lt_interfaces import Callback, Trainer, rank_zero_warn
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parameter import Parameter
from torch.optim import Optimizer

Modules = nn.Module | Iterable[Any]


class BaseFinetuning(Callback):
    """Override `freeze_before_training` and `finetune_function`; the static methods freeze and unfreeze.

    Parameter groups added on the way, and what is trained, come back when a run resumes. Schedulers learn of new
    groups. With several processes the gradients of what was frozen at first are averaged here, since the
    strategy's wrapper saw only what was trained when it was made.
    """

    def __init__(self) -> None:
        self._groups: dict[int, list[dict[str, Any]]] = {}
        self._trained: dict[str, list[str]] | None = None
        self._frozen_at_first: list[Parameter] = []
        self._module: Any = None

    def freeze_before_training(self, pl_module: Any) -> None:
        """Freeze what is not trained from the start; before optimizers are made."""
        raise NotImplementedError(f"`{type(self).__name__}` freezes nothing. Override `freeze_before_training`.")

    def finetune_function(self, pl_module: Any, epoch: int, optimizer: Any) -> None:
        """Unfreeze what is due; called at the start of each epoch, for each optimizer."""
        raise NotImplementedError(f"`{type(self).__name__}` unfreezes nothing. Override `finetune_function`.")

    def state_dict(self) -> dict[str, Any]:
        return {"internal_optimizer_metadata": self._groups, "trained": _trained(self._module)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._groups = {int(i): list(groups) for i, groups in state_dict["internal_optimizer_metadata"].items()}
        self._trained = state_dict.get("trained")

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        if stage == "fit":
            goes_on = pl_module is self._module and trainer.current_epoch > 0
            self._module, self._trained = pl_module, _trained(pl_module) if goes_on else None
            self.freeze_before_training(pl_module)

    def on_fit_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Make what a resumed run had, before the states of optimizers and schedulers are loaded."""
        parameters = dict(pl_module.named_parameters())
        if trainer.world_size > 1:
            self._frozen_at_first = [
                p for p in parameters.values() if not p.requires_grad and not hasattr(p, "device_mesh")
            ]
        if not self._trained:
            return
        for name, parameter in parameters.items():
            parameter.requires_grad = name in self._trained["parameters"]
        for name, module in pl_module.named_modules():
            if isinstance(module, _BatchNorm):
                module.track_running_stats = name not in self._trained["fixed_statistics"]
        for i, optimizer in enumerate(trainer.optimizers):
            count = len(optimizer.param_groups)
            if i in self._groups:
                optimizer.param_groups = [
                    group | {"params": [parameters[name] for name in group["params"]]} for group in self._groups[i]
                ]
                _tell_schedulers(trainer, optimizer, count)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        names = {parameter: name for name, parameter in pl_module.named_parameters()}
        for i, optimizer in enumerate(trainer.optimizers):
            count = len(optimizer.param_groups)
            self.finetune_function(pl_module, trainer.current_epoch, optimizer)
            _tell_schedulers(trainer, optimizer, count)
            self._groups[i] = [
                group | {"params": [names[p] for p in group["params"]]} for group in optimizer.param_groups
            ]

    def on_after_backward(self, trainer: Trainer, pl_module: Any) -> None:
        for parameter in self._frozen_at_first:
            if parameter.grad is not None:
                parameter.grad.copy_(trainer.engine.all_reduce(parameter.grad, "mean"))

    @staticmethod
    def flatten_modules(modules: Modules) -> list[nn.Module]:
        """All modules in any nesting that have parameters of their own or no submodules."""
        if isinstance(modules, nn.Module):
            return [m for m in modules.modules() if not any(m.children()) or m._parameters]
        return [leaf for module in modules for leaf in BaseFinetuning.flatten_modules(module)]

    @staticmethod
    def filter_params(modules: Modules, train_bn: bool = True, requires_grad: bool = True) -> Iterator[Parameter]:
        """The parameters that are trained, or with `requires_grad=False` those that are not."""
        for module in BaseFinetuning.flatten_modules(modules):
            if train_bn or not isinstance(module, _BatchNorm):
                yield from (p for p in module.parameters(recurse=False) if p.requires_grad == requires_grad)

    @staticmethod
    def make_trainable(modules: Modules) -> None:
        """Train the parameters and let batch normalization take up statistics."""
        for module in BaseFinetuning.flatten_modules(modules):
            _train(module, True)

    @staticmethod
    def freeze_module(module: nn.Module) -> None:
        """Train neither the module's own parameters nor its statistics."""
        _train(module, False)

    @staticmethod
    def freeze(modules: Modules, train_bn: bool = True) -> None:
        """Train nothing of them but, with `train_bn`, batch normalization."""
        for module in BaseFinetuning.flatten_modules(modules):
            _train(module, train_bn and isinstance(module, _BatchNorm))

    @staticmethod
    def filter_on_optimizer(optimizer: Optimizer, params: Iterable[Parameter]) -> list[Parameter]:
        """Those that the optimizer does not have yet."""
        own = {id(p) for group in optimizer.param_groups for p in group["params"]}
        return [p for p in params if id(p) not in own]

    @staticmethod
    def unfreeze_and_add_param_group(
        modules: Modules,
        optimizer: Optimizer,
        lr: float | None = None,
        initial_denom_lr: float = 10.0,
        train_bn: bool = True,
    ) -> None:
        """Train the modules in a new group, with `lr` or the first group's rate divided by `initial_denom_lr`."""
        BaseFinetuning.make_trainable(modules)
        params = BaseFinetuning.filter_on_optimizer(optimizer, BaseFinetuning.filter_params(modules, train_bn))
        if params:
            rate = optimizer.param_groups[0]["lr"] / initial_denom_lr if lr is None else float(lr)
            optimizer.add_param_group({"params": params, "lr": rate})
        else:
            rank_zero_warn(
                "The optimizer has all of the parameters to unfreeze already, and they keep their learning rate. "
                "In `configure_optimizers` pass only parameters with `requires_grad`."
            )


def _train(module: nn.Module, value: bool) -> None:
    if isinstance(module, _BatchNorm):
        module.track_running_stats = value
    for parameter in module.parameters(recurse=False):
        parameter.requires_grad = value


def _trained(module: nn.Module | None) -> dict[str, list[str]]:
    """What to remember: the parameters that are trained and the statistics that are not."""
    if module is None:
        return {}
    return {
        "parameters": [name for name, p in module.named_parameters() if p.requires_grad],
        "fixed_statistics": [name for name, m in module.named_modules() if _is_fixed(m)],
    }


def _is_fixed(module: nn.Module) -> bool:
    return isinstance(module, _BatchNorm) and not module.track_running_stats


def _tell_schedulers(trainer: Trainer, optimizer: Any, count: int) -> None:
    """A scheduler keeps lists with a value per group; those made for `count` groups get one for each new group."""
    new: list[Mapping[str, Any]] = optimizer.param_groups[count:]
    for config in trainer.lr_scheduler_configs:
        scheduler = config.scheduler
        if getattr(scheduler, "optimizer", None) is not optimizer:
            continue
        for name, values in vars(scheduler).items():
            if isinstance(values, list) and len(values) == count:
                rates = [g["lr"] for g in new]
                values += rates if name in ("base_lrs", "_last_lr") else [values[-1]] * len(new)
