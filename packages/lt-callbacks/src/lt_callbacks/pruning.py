"""Sets the least important weights to zero as training goes on, and keeps them there."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from lt_interfaces import Callback, MisconfigurationException, Trainer, rank_zero_info
from torch import Tensor, nn
from torch.nn.utils import prune

from lt_callbacks.pruning_methods import FUNCTIONS, check, renewed

Targets = Sequence[tuple[nn.Module, str]]


class ModelPruning(Callback):
    """Prunes `amount` (a share, or a number of weights) of what is left, after each epoch.

    `pruning_fn` is a name from `torch.nn.utils.prune` or a class of a pruning method; `use_global_unstructured` ranks
    all weights together. `amount`, `apply_pruning` and `use_lottery_ticket_hypothesis` (surviving weights go back to
    their first values, or with `resample_parameters` to new ones) may be functions of the epoch. Checkpoints hold
    plain pruned weights, and a run that resumes from one has its masks again. `verbose` 1 tells totals, 2 those of
    each weight.
    """

    PARAMETER_NAMES = ("weight", "bias")

    def __init__(
        self,
        pruning_fn: str | type[prune.BasePruningMethod],
        parameters_to_prune: Targets | None = (),
        parameter_names: Sequence[str] | None = None,
        use_global_unstructured: bool = True,
        amount: int | float | Callable[[int], int | float] = 0.5,
        apply_pruning: bool | Callable[[int], bool] = True,
        make_pruning_permanent: bool = True,
        use_lottery_ticket_hypothesis: bool | Callable[[int], bool] = True,
        resample_parameters: bool = False,
        pruning_dim: int | None = None,
        pruning_norm: int | None = None,
        verbose: int = 0,
        prune_on_train_epoch_end: bool = True,
    ) -> None:
        check(pruning_fn, use_global_unstructured, pruning_dim, pruning_norm)
        is_amount = isinstance(amount, (int, float)) and 0 <= amount <= (1 if isinstance(amount, float) else amount)
        if not (callable(amount) or is_amount):
            raise MisconfigurationException(
                f"`amount` got {amount!r}. Give a share (0.5), a number of weights (100), or a function of the epoch."
            )
        self.pruning_fn, self.amount = pruning_fn, amount
        self._given, self._names = parameters_to_prune or (), parameter_names or self.PARAMETER_NAMES
        self._globally, self._applies, self._permanent = use_global_unstructured, apply_pruning, make_pruning_permanent
        self._lottery, self._resamples = use_lottery_ticket_hypothesis, resample_parameters
        is_structured = isinstance(pruning_fn, str) and pruning_fn.endswith("_structured")
        self._options = {"dim": pruning_dim} if is_structured else {}
        if pruning_fn == "ln_structured":
            self._options["n"] = pruning_norm
        self._verbose, self._at_epoch_end = verbose, prune_on_train_epoch_end
        self._targets: dict[str, tuple[nn.Module, str]] = {}
        self._first: dict[str, Tensor] = {}
        self._masks: dict[str, Tensor] = {}

    def filter_parameters_to_prune(self, parameters_to_prune: Targets) -> Targets:
        """Those that are pruned; override to leave some out."""
        return parameters_to_prune

    def state_dict(self) -> dict[str, Any]:
        return {"masks": {**self._masks, **self._current_masks()}, "originals": dict(self._first)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._masks, self._first = dict(state_dict["masks"]), dict(state_dict["originals"])

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        if stage == "fit":
            self._masks = {}
            modules = {module: name for name, module in pl_module.named_modules()}
            self._targets = {
                f"{modules[module]}.{name}".lstrip("."): (module, name)
                for module, name in self.filter_parameters_to_prune(self._sanitized(pl_module, modules))
            }
            self._first = {
                key: getattr(m, n).detach().clone() for key, (m, n) in self._targets.items() if self._lottery
            }

    def on_fit_start(self, trainer: Trainer, pl_module: Any) -> None:
        """The masks of a resumed run; after the optimizer is made, which knows weights by their order."""
        for key, (module, name) in self._targets.items():
            if key in self._masks:
                prune.custom_from_mask(module, name, self._masks[key].to(getattr(module, name).device))  # type: ignore[no-untyped-call]

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        if self._at_epoch_end:
            self._run(trainer)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        if self._targets and not self._at_epoch_end and not trainer.sanity_checking:
            self._run(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        self._masks = self._current_masks()
        if self._permanent:
            for key in self._masks:
                prune.remove(*self._targets[key])  # type: ignore[no-untyped-call]

    def on_save_checkpoint(self, trainer: Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        if not self._permanent:
            return
        state = dict(checkpoint["state_dict"])
        for key in self._current_masks():
            mask = state.pop(f"{key}_mask")
            state[key] = state.pop(f"{key}_orig") * mask
        checkpoint["state_dict"] = state

    def apply_pruning(self, amount: int | float) -> None:
        """Prune now."""
        targets = list(self._targets.values())
        if self._globally:
            method = FUNCTIONS[self.pruning_fn][1] if isinstance(self.pruning_fn, str) else self.pruning_fn
            prune.global_unstructured(targets, method, amount=amount)
            return
        for module, name in targets:
            if isinstance(self.pruning_fn, str):
                FUNCTIONS[self.pruning_fn][0](module, name=name, amount=amount, **self._options)
            else:
                self.pruning_fn.apply(module, name, amount=amount)  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def apply_lottery_ticket_hypothesis(self) -> None:
        """Give the surviving weights their first values back, or new ones."""
        for key, (module, name) in self._targets.items():
            weight = getattr(module, f"{name}_orig", getattr(module, name))
            renews = self._resamples and hasattr(module, "reset_parameters")
            weight.copy_(renewed(module, name) if renews else self._first[key])

    def _run(self, trainer: Trainer) -> None:
        epoch = trainer.current_epoch
        amount = self.amount(epoch) if callable(self.amount) else self.amount
        if not amount or not (self._applies(epoch) if callable(self._applies) else self._applies):
            return
        before = self._zeros()
        self.apply_pruning(amount)
        if self._lottery(epoch) if callable(self._lottery) else self._lottery:
            self.apply_lottery_ticket_hypothesis()
        if trainer.world_size > 1:  # what was drawn at random is rank zero's on all
            for key, mask in self._current_masks().items():
                module, name = self._targets[key]
                for tensor in (mask, getattr(module, f"{name}_orig").data):
                    tensor.copy_(trainer.engine.broadcast(tensor))
        if self._verbose:
            self._tell(before)

    def _tell(self, before: dict[str, int]) -> None:
        after, sizes = self._zeros(), {key: getattr(m, n).numel() for key, (m, n) in self._targets.items()}
        rank_zero_info(f"Pruned weights: {sum(before.values())} -> {sum(after.values())} of {sum(sizes.values())}")
        if self._verbose > 1:
            for key, size in sizes.items():
                rank_zero_info(f"  {key}: {before[key]} -> {after[key]} of {size}")

    def _zeros(self) -> dict[str, int]:
        masks = self._current_masks()
        return {key: int((masks[key] == 0).sum()) if key in masks else 0 for key in self._targets}

    def _current_masks(self) -> dict[str, Tensor]:
        """The masks in the module; empty again once pruning is permanent."""
        targets = self._targets.items()
        return {key: getattr(m, f"{n}_mask") for key, (m, n) in targets if hasattr(m, f"{n}_mask")}

    def _sanitized(self, pl_module: nn.Module, modules: Iterable[nn.Module]) -> Targets:
        for target in self._given:
            if len(target) != 2 or target[0] not in modules or not hasattr(*target):
                raise MisconfigurationException(
                    f"`parameters_to_prune` has {target!r}, which is no parameter of `{type(pl_module).__name__}`. "
                    "Give pairs such as (model.layer, 'weight')."
                )
        every = [(module, name) for name in self._names for module in modules]
        least = 2 if "dim" in self._options else 1  # a bias has no rows
        return self._given or [
            (m, n) for m, n in every if isinstance(p := getattr(m, n, None), nn.Parameter) and p.dim() >= least
        ]
