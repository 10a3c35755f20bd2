"""Trains the head of a module first, then its backbone with a rate that catches up."""

from collections.abc import Callable
from typing import Any

from lt_interfaces import MisconfigurationException, Trainer, rank_zero_info

from lt_callbacks.finetuning import BaseFinetuning


def double(epoch: int) -> float:
    """The factor by which the backbone's rate grows each epoch, unless told otherwise."""
    return 2.0


class BackboneFinetuning(BaseFinetuning):
    """Trains `pl_module.backbone` from epoch `unfreeze_backbone_at_epoch` on.

    Its rate begins at `backbone_initial_lr` or the first group's times `backbone_initial_ratio_lr`, and is multiplied
    each epoch by `lambda_func(epoch)`; with `should_align` it stays at the first group's once it gets there.
    """

    def __init__(
        self,
        unfreeze_backbone_at_epoch: int = 10,
        lambda_func: Callable[[int], float] = double,
        backbone_initial_ratio_lr: float = 0.1,
        backbone_initial_lr: float | None = None,
        should_align: bool = True,
        initial_denom_lr: float = 10.0,
        train_bn: bool = True,
        verbose: bool = False,
        rounding: int = 12,
    ) -> None:
        super().__init__()
        self.unfreeze_backbone_at_epoch = unfreeze_backbone_at_epoch
        self.lambda_func = lambda_func
        self.backbone_initial_ratio_lr = backbone_initial_ratio_lr
        self.backbone_initial_lr = backbone_initial_lr
        self.should_align = should_align
        self.initial_denom_lr = initial_denom_lr
        self.train_bn = train_bn
        self.verbose = verbose
        self.rounding = rounding
        self.previous_backbone_lr: float | None = None

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"previous_backbone_lr": self.previous_backbone_lr}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.previous_backbone_lr = state_dict["previous_backbone_lr"]

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        if stage == "fit" and not hasattr(pl_module, "backbone"):
            raise MisconfigurationException(
                f"`BackboneFinetuning` freezes `backbone`, and `{type(pl_module).__name__}` has none. "
                "Name the pretrained part `self.backbone`, or write a `BaseFinetuning` of your own."
            )
        super().setup(trainer, pl_module, stage)

    def freeze_before_training(self, pl_module: Any) -> None:
        self.freeze(pl_module.backbone, train_bn=self.train_bn)

    def finetune_function(self, pl_module: Any, epoch: int, optimizer: Any) -> None:
        main = optimizer.param_groups[0]["lr"]
        if epoch == self.unfreeze_backbone_at_epoch:
            rate = self.backbone_initial_lr or main * self.backbone_initial_ratio_lr
            count = len(optimizer.param_groups)
            self.unfreeze_and_add_param_group(
                pl_module.backbone, optimizer, rate, self.initial_denom_lr, train_bn=self.train_bn
            )
            if len(optimizer.param_groups) == count:
                return
        elif self.previous_backbone_lr is not None and epoch > self.unfreeze_backbone_at_epoch:
            rate = self.previous_backbone_lr * self.lambda_func(epoch + 1)
            rate = min(rate, main) if self.should_align else rate
            optimizer.param_groups[-1]["lr"] = rate
        else:
            return
        self.previous_backbone_lr = rate
        if self.verbose:
            rank_zero_info(f"Learning rates: {round(main, self.rounding)}, backbone {round(rate, self.rounding)}")
