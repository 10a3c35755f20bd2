"""`LightningModule`: an `nn.Module` that says how it is trained. It knows no loop, device or file format."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from typing import TYPE_CHECKING, Any, Self

import torch
from lt_checkpoint.weights import Strictness
from lt_interfaces import MisconfigurationException, default_hook, did_you_mean, rank_zero_warn
from torch.compiler import is_exporting

from lt_module.attachment import Attachment
from lt_module.default_hooks import DefaultHooks
from lt_module.export import to_onnx, to_torchscript
from lt_module.hyperparameters import HyperparametersMixin
from lt_module.restoring import restore

if TYPE_CHECKING:
    class_only = classmethod
else:

    class class_only(classmethod):
        """A classmethod that refuses to be called on an instance, whose weights it would not touch."""

        def __get__(self, instance, owner=None):
            if instance is None:
                return super().__get__(None, owner)
            return self._refuse

        def _refuse(self, *args, **kwargs):
            name = self.__func__.__name__
            raise TypeError(f"`{name}` makes a new module. Call it on the class: `model = MyModule.{name}(...)`.")


class LightningModule(DefaultHooks, HyperparametersMixin, Attachment):
    """Describe a training run: override `training_step` and `configure_optimizers`, and any hook you need.

    >>> class Line(LightningModule):
    ...     def __init__(self, lr: float = 0.1):
    ...         super().__init__()
    ...         self.save_hyperparameters()
    ...         self.layer = torch.nn.Linear(1, 1)
    ...     def training_step(self, batch, batch_idx):
    ...         x, y = batch
    ...         loss = ((self.layer(x) - y) ** 2).mean()
    ...         self.log("loss", loss)
    ...         return loss
    ...     def configure_optimizers(self):
    ...         return torch.optim.SGD(self.parameters(), self.hparams.lr)
    """

    __jit_unused_properties__ = [
        *(name for name, value in vars(Attachment).items() if isinstance(value, property)),
        *("hparams", "hparams_initial", "strict_loading"),
    ]

    automatic_optimization: bool = True
    """False if `training_step` calls `manual_backward` and steps the optimizers; set it in `__init__`."""
    example_input_array: Any = None
    """An input of `forward` for summaries and exports: a tensor, a tuple of positions or a dict of keywords."""
    device_mesh: Any = None
    """The mesh for `configure_model`, where the strategy has one."""
    prepare_data_per_node: bool = True
    """Whether `prepare_data` runs on every machine, or only on the first."""
    allow_zero_length_dataloader_with_multiple_devices: bool = False
    """Whether an empty loader is accepted with several processes."""

    _strict_loading: Strictness | None = None
    _toggled: tuple[tuple[torch.nn.Parameter, bool], ...] = ()
    _told_of_missing_trainer: bool = False

    @property
    def strict_loading(self) -> Strictness:
        """Whether checkpoints must hold exactly this module's weights, or patterns of the part that they hold.

        May be set: `self.strict_loading = "*.lora_*"`, where `state_dict` gives no more than the adapters.
        """
        return True if self._strict_loading is None else self._strict_loading

    @strict_loading.setter
    def strict_loading(self, strict: Strictness | None) -> None:
        self._strict_loading = strict

    def log(
        self,
        name: str,
        value: Any,
        prog_bar: bool = False,
        logger: bool | None = None,
        on_step: bool | None = None,
        on_epoch: bool | None = None,
        reduce_fx: Any = "mean",
        enable_graph: bool = False,
        sync_dist: bool = False,
        sync_dist_group: Any = None,
        add_dataloader_idx: bool = True,
        batch_size: int | None = None,
        metric_attribute: str | None = None,
        rank_zero_only: bool = False,
    ) -> None:
        """Record a number, a one-element tensor or a torchmetrics metric; it stays on its device.

        Args:
            name: The key in records, in `callback_metrics` and in monitors.
            value: What to record.
            prog_bar: Show it in the progress bar.
            logger: Send it to the loggers; by default yes.
            on_step: Keep the value of each step; by default in training hooks.
            on_epoch: Keep the epoch's reduction; by default outside training hooks.
            reduce_fx: "mean" (weighted by batch size), "sum", "min" or "max" over the epoch.
            enable_graph: Keep the autograd graph.
            sync_dist: Reduce over the processes.
            sync_dist_group: The process group to reduce over.
            add_dataloader_idx: Tell several evaluation loaders apart by a suffix.
            batch_size: The weight in the mean; by default read off the batch.
            metric_attribute: Name of the metric on this module; rarely needed.
            rank_zero_only: Only rank zero logs this, so nothing is reduced.
        """
        if is_exporting():
            return
        if self._trainer is None:
            self._log_without_trainer(name, value)
            return
        self._trainer.recorder.log(
            name,
            value,
            prog_bar,
            logger,
            on_step,
            on_epoch,
            reduce_fx,
            enable_graph,
            sync_dist,
            sync_dist_group,
            add_dataloader_idx,
            batch_size,
            metric_attribute,
            rank_zero_only,
        )

    def log_dict(
        self,
        dictionary: Mapping[str, Any],
        prog_bar: bool = False,
        logger: bool | None = None,
        on_step: bool | None = None,
        on_epoch: bool | None = None,
        reduce_fx: Any = "mean",
        enable_graph: bool = False,
        sync_dist: bool = False,
        sync_dist_group: Any = None,
        add_dataloader_idx: bool = True,
        batch_size: int | None = None,
        rank_zero_only: bool = False,
    ) -> None:
        """Record each entry of a mapping or of a torchmetrics collection, as `log` does."""
        for name, value in dictionary.items():
            self.log(
                name,
                value,
                prog_bar=prog_bar,
                logger=logger,
                on_step=on_step,
                on_epoch=on_epoch,
                reduce_fx=reduce_fx,
                enable_graph=enable_graph,
                sync_dist=sync_dist,
                sync_dist_group=sync_dist_group,
                add_dataloader_idx=add_dataloader_idx,
                batch_size=batch_size,
                rank_zero_only=rank_zero_only,
            )

    def _log_without_trainer(self, name: str, value: Any) -> None:
        if self._fabric is not None:
            self._fabric.log_dict({name: value})
        elif not self._told_of_missing_trainer:
            self._told_of_missing_trainer = True
            rank_zero_warn(
                f"`self.log({name!r}, ...)` records nothing, since no Trainer is attached. "
                "Pass the module to `trainer.fit`, or read the value from what the step returns.",
                stacklevel=5,
            )

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Print in one process only, above a progress bar."""
        owner = self._trainer if self._trainer is not None else self._fabric
        (print if owner is None else owner.print)(*args, **kwargs)

    def optimizers(self, use_pl_optimizer: bool = True) -> Any:
        """The optimizer, or a list of several; `use_pl_optimizer=False` gives them as torch made them."""
        trainer = self.trainer
        optimizers = trainer.lightning_optimizers if use_pl_optimizer else trainer.optimizers
        return optimizers[0] if len(optimizers) == 1 else list(optimizers)

    def lr_schedulers(self) -> Any:
        """The scheduler, a list of several, or None."""
        schedulers = [config.scheduler for config in self.trainer.lr_scheduler_configs]
        return schedulers[0] if len(schedulers) == 1 else schedulers or None

    def manual_backward(self, loss: torch.Tensor, *args: Any, **kwargs: Any) -> None:
        """Compute gradients in manual optimization; scaling and gradient sync are taken care of."""
        if self._trainer is None and self._fabric is not None:
            self._fabric.backward(loss, *args, **kwargs)
            return
        if self.automatic_optimization:
            raise MisconfigurationException(
                "`manual_backward` was called, but the trainer runs backward itself (automatic optimization). "
                "Set `self.automatic_optimization = False` in `__init__`, or return the loss."
            )
        self.trainer.manual_backward(loss, *args, **kwargs)

    def toggle_optimizer(self, optimizer: Any) -> None:
        """Freeze every parameter that `optimizer` does not own; one optimizer at a time is toggled."""
        self.untoggle_optimizer(optimizer)
        own = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        self._toggled = tuple((p, p.requires_grad) for p in self.parameters() if id(p) not in own)
        for parameter, _ in self._toggled:
            parameter.requires_grad_(False)

    def untoggle_optimizer(self, optimizer: Any) -> None:
        """Undo `toggle_optimizer`: each parameter is trainable again if it was before."""
        for parameter, required in self._toggled:
            parameter.requires_grad_(required)
        self._toggled = ()

    @contextmanager
    def toggled_optimizer(self, optimizer: Any) -> Iterator[None]:
        """`toggle_optimizer` for the length of a `with` block."""
        self.toggle_optimizer(optimizer)
        try:
            yield
        finally:
            self.untoggle_optimizer(optimizer)

    @default_hook
    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clip the gradients before a step; override to clip in another way."""
        self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def clip_gradients(
        self, optimizer: Any, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clip an optimizer's gradients: "norm" (total) or "value"; what is not given, the trainer says."""
        engine = self.trainer.engine if self._engine is None else self._engine
        limit = self._agreed("gradient_clip_val", gradient_clip_val)
        algorithm = self._agreed("gradient_clip_algorithm", gradient_clip_algorithm) or "norm"
        if algorithm not in ("norm", "value"):
            raise ValueError(
                f"`gradient_clip_algorithm` cannot be {algorithm!r}. {did_you_mean(str(algorithm), ('norm', 'value'))}"
            )
        if not limit:
            return
        if algorithm == "norm":
            engine.clip_gradients(self, optimizer, max_norm=limit)
        else:
            engine.clip_gradients(self, optimizer, clip_val=limit)

    def _agreed(self, name: str, given: Any) -> Any:
        trainers = getattr(self._trainer, name, None)
        if given is not None and trainers is not None and given != trainers:
            raise MisconfigurationException(
                f"`{name}={given!r}` contradicts the Trainer's `{name}={trainers!r}`. Give it in one place only."
            )
        return trainers if given is None else given

    def all_gather(self, data: Any, group: Any = None, sync_grads: bool = False) -> Any:
        """All processes' tensors, with a new first dimension; the data itself in a single process."""
        engine = self._engine
        return data if engine is None else engine.all_gather(data, group, sync_grads)

    def freeze(self) -> Self:
        """Stop all gradients and switch to evaluation."""
        self.requires_grad_(False)
        return self.eval()

    def unfreeze(self) -> Self:
        """Let all parameters train and switch to training."""
        self.requires_grad_(True)
        return self.train()

    @class_only
    def load_from_checkpoint(
        cls,
        checkpoint_path: str | PathLike[str],
        map_location: Any = None,
        hparams_file: str | PathLike[str] | None = None,
        strict: Strictness | None = None,
        weights_only: bool | None = None,
        **kwargs: Any,
    ) -> Self:
        """A new module with the hyperparameters and the weights of a checkpoint, ready for `predict` or more training.

        Args:
            checkpoint_path: The file.
            map_location: Where tensors go; by default where they were saved from, or the CPU where that is missing.
            hparams_file: A .yaml, .json or .csv file to use instead of the hyperparameters in the checkpoint.
            strict: Whether the weights must match exactly, or patterns such as `"*.lora_*"` of the part that the file
                holds; by default as `strict_loading` says.
            weights_only: Without effect: nothing but tensors and plain values is ever read.
            kwargs: Arguments of `__init__` that the checkpoint does not hold, or that replace those in it.
        """
        return restore(cls, checkpoint_path, map_location, hparams_file, strict, kwargs)

    def to_onnx(self, file_path: str | PathLike[str] | None = None, input_sample: Any = None, **kwargs: Any) -> Any:
        """The ONNX program of `forward`, written to `file_path` if given; `kwargs` go to `torch.onnx.export`."""
        return to_onnx(self, file_path, input_sample, kwargs)

    def to_torchscript(
        self,
        file_path: str | PathLike[str] | None = None,
        method: str = "script",
        example_inputs: Any = None,
        **kwargs: Any,
    ) -> Any:
        """The TorchScript of `forward`, written to `file_path` if given. torch retires it: prefer `torch.export`."""
        return to_torchscript(self, file_path, method, example_inputs, kwargs)
