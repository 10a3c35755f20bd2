"""Optimizer state, gradients and parameters dealt out over the ranks by Microsoft's DeepSpeed: its ZeRO stages."""

import contextlib
import json
import logging
import os
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from lt_interfaces import MisconfigurationException, did_you_mean
from torch import Tensor, nn

from lt_accel.precision import Precision
from lt_accel.strategies.parallel import ParallelStrategy
from lt_accel.strategies.sharded import make_copies_equal
from lt_accel.strategies.zero import ZeroModule

_ELSEWHERE = {
    "optimizer": "Make it in `configure_optimizers`, or pass it to `setup`",
    "scheduler": "Make it in `configure_optimizers`, or step it yourself",
    "gradient_clipping": "Use `gradient_clip_val`, or `clip_gradients`",
    "gradient_accumulation_steps": "Use `accumulate_grad_batches`, or `no_backward_sync`",
    "train_batch_size": "It follows from the dataloader",
    "fp16": "Use `precision`",
    "bf16": "Use `precision`",
    "amp": "Use `precision`",
    "torch_autocast": "Use `precision`",
}
"""What DeepSpeed's config can say that is said in one place already."""

_ZERO = (
    "allgather_partitions",
    "allgather_bucket_size",
    "contiguous_gradients",
    "overlap_comm",
    "reduce_bucket_size",
    "reduce_scatter",
    "sub_group_size",
)


class DeepSpeedStrategy(ParallelStrategy):
    """One module with one optimizer, trained by DeepSpeed; further keywords go to `zero_optimization` in its config.

    `stage` 1 deals out the optimizer's state, 2 (which it is unless `config` says otherwise) the gradients too, 3 the
    parameters too. `config` is a dict or the path of a JSON file. `offload_optimizer` and, in stage 3,
    `offload_parameters` keep them in the CPU's memory. The module is made whole on each rank before it is dealt out.
    """

    def __init__(
        self,
        *,
        stage: int | None = None,
        config: Mapping[str, Any] | str | os.PathLike[str] | None = None,
        offload_optimizer: bool = False,
        offload_parameters: bool = False,
        logging_level: int = logging.WARNING,
        process_group_backend: str | None = None,
        timeout: Any = None,
        start_method: str = "popen",
        **kwargs: Any,
    ) -> None:
        super().__init__(process_group_backend=process_group_backend, timeout=timeout, start_method=start_method)
        for name in kwargs:
            if name not in _ZERO:
                raise TypeError(f"`DeepSpeedStrategy` takes no argument `{name}`. {did_you_mean(name, _ZERO)}")
        self._config = _read(config)
        zero = {**self._config.get("zero_optimization", {}), **kwargs}
        if stage is not None and zero.setdefault("stage", stage) != stage:
            raise MisconfigurationException(
                f"`stage={stage!r}` was passed, and `config` says {zero['stage']!r}. Say it in one place."
            )
        self.stage = zero.setdefault("stage", 2)
        if self.stage not in (1, 2, 3):
            raise ValueError(f"`stage` must be 1, 2 or 3, got {self.stage!r}. For none of them use `strategy='ddp'`.")
        if offload_parameters and self.stage != 3:
            raise MisconfigurationException(
                f"`offload_parameters` is for stage 3, and `stage` is {self.stage}. Pass `stage=3`, or leave it out."
            )
        for name, wanted in (("offload_optimizer", offload_optimizer), ("offload_param", offload_parameters)):
            if wanted:
                zero.setdefault(name, {"device": "cpu"})
        self._config["zero_optimization"] = zero
        self.shards_modules = self.stage == 3  # type: ignore[misc]  # of this object, where other strategies know by class
        self._deepspeed = _library()
        self._level = logging_level
        self._wrapped: ZeroModule | None = None

    def join(self) -> None:
        super().join()
        logging.getLogger("DeepSpeed").setLevel(self._level)
        name = self._deepspeed.accelerator.get_accelerator().device_name()
        if name != self.device.type:
            raise MisconfigurationException(
                f"DeepSpeed found {name!r} devices here, and {self.device.type!r} was asked for. Set the environment "
                f"variable `DS_ACCELERATOR={self.device.type}`."
            )

    def leave(self) -> None:
        if self._wrapped is not None:
            self._wrapped.close()
            self._wrapped = None
        super().leave()

    def dtypes(self, precision: Precision) -> tuple[torch.dtype, torch.dtype | None]:
        is_other = precision.scaler is not None or precision.replaces_parameters
        if is_other or precision.param_dtype not in (torch.float32, torch.bfloat16):
            raise MisconfigurationException(
                f"`precision={precision.precision!r}` does not go with DeepSpeed here. Use '32-true', 'bf16-mixed' or "
                "'bf16-true', or `strategy='fsdp'`."
            )
        return precision.compute_dtype, precision.param_dtype

    def wrap(self, module: nn.Module, precision: Precision) -> ZeroModule:
        if self._wrapped is None:
            make_copies_equal(module.to(self.device))
            config = {
                "train_micro_batch_size_per_gpu": 1,
                "zero_allow_untested_optimizer": True,
                "zero_force_ds_cpu_optimizer": False,
                **self._config,
                "gradient_accumulation_steps": 1,
                "bf16": {"enabled": precision.param_dtype == torch.bfloat16},
            }
            self._wrapped = ZeroModule(module, config, self)
        if self._wrapped.module is not module:
            raise MisconfigurationException(
                f"DeepSpeed trains one module, and `{type(module).__name__}` is the second. Set up one that holds both."
            )
        return self._wrapped

    def setup_optimizer(self, optimizer: Any) -> Any:
        if self._wrapped is None:
            raise RuntimeError(
                f"The optimizer `{type(optimizer).__name__}` was set up before its module, with which DeepSpeed needs "
                "it. Set up the module first, or both in one call: `fabric.setup(module, optimizer)`."
            )
        with _local_rank(self.local_rank):
            return self._wrapped.open(self._deepspeed, optimizer)

    def before_backward(self, loss: Tensor) -> None:
        if self._wrapped is not None:
            self._wrapped.note_backward()

    def clip_norm(self, parameters: list[Any], max_norm: float, norm_type: float, error_if_nonfinite: bool) -> Tensor:
        """DeepSpeed clips when it steps; what is said here counts for the next step."""
        if norm_type != 2:
            raise ValueError(f"DeepSpeed clips by the 2-norm, got `norm_type={norm_type!r}`. Leave it out.")
        assert self._wrapped is not None  # noqa: S101
        total = self._wrapped.clip(max_norm)
        if error_if_nonfinite and not torch.isfinite(total):
            raise RuntimeError(f"The total norm of the gradients is {total.item()}. Look for what made it so.")
        return total

    def clip_value(self, parameters: list[Any], max_value: float) -> None:
        raise MisconfigurationException(
            "DeepSpeed clips gradients by their norm, not by value. Use `gradient_clip_algorithm='norm'`, or pass "
            "`max_norm`."
        )

    def no_backward_sync(self, wrapped: Any) -> contextlib.AbstractContextManager[Any]:
        return wrapped.accumulating()  # type: ignore[no-any-return]

    def load_checkpoint(self, path: Any) -> dict[str, Any]:
        """Read, on every rank, a file that this strategy or another one wrote; DeepSpeed's own folders are refused."""
        if os.path.isdir(path):
            raise MisconfigurationException(
                f"The checkpoint {os.fspath(path)!r} is a folder, and those of DeepSpeed hold pickles, which can run "
                "code. Make it one file of weights with the `zero_to_fp32.py --safe_serialization` that lies in it, if "
                "you trust it."
            )
        return super().load_checkpoint(path)


def _library() -> Any:
    try:
        return import_module("deepspeed")
    except ImportError as error:
        raise ImportError("`strategy='deepspeed'` needs DeepSpeed. Run `pip install 'lt-accel[deepspeed]'`.") from error


def _read(config: Mapping[str, Any] | str | os.PathLike[str] | None) -> dict[str, Any]:
    """The config as a dict of our own, without what is said elsewhere."""
    if isinstance(config, (str, os.PathLike)):
        config = json.loads(Path(config).read_text(encoding="utf-8"))
    if not isinstance(config, Mapping | None):
        raise TypeError(f"`config` must be a dict or the path of a JSON file, got {config!r}. Pass one of these.")
    for name in config or ():
        if name in _ELSEWHERE:
            raise MisconfigurationException(f"`config` has {name!r}. {_ELSEWHERE[name]}, and leave it out there.")
    return dict(config or {})


@contextlib.contextmanager
def _local_rank(rank: int) -> Iterator[None]:
    """DeepSpeed reads this variable, which not every launcher sets."""
    if "LOCAL_RANK" in os.environ:
        yield
        return
    os.environ["LOCAL_RANK"] = str(rank)
    try:
        yield
    finally:
        del os.environ["LOCAL_RANK"]
