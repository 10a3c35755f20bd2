"""The trainer's flags of former years: taken with a word on what they are called now, or refused with it."""

import warnings
from typing import Any

from lt_interfaces import did_you_mean

REMOVED = {
    "resume_from_checkpoint": "Pass `ckpt_path=` to `trainer.fit`.",
    "auto_lr_find": "Use `LearningRateFinder` or `Tuner.lr_find`.",
    "auto_scale_batch_size": "Use `BatchSizeFinder` or `Tuner.scale_batch_size`.",
    "truncated_bptt_steps": "Split the sequence in `training_step`, with manual optimization.",
    "stochastic_weight_avg": "Add the callback `StochasticWeightAveraging`.",
    "amp_backend": "Leave it out: torch's own mixed precision is used.",
    "amp_level": "Leave it out: torch's own mixed precision is used.",
    "terminate_on_nan": "Use `detect_anomaly=True`.",
    "track_grad_norm": "Log the norms in `on_before_optimizer_step`.",
    "flush_logs_every_n_steps": "Set it on the logger.",
    "prepare_data_per_node": "Set it on the module or the data module.",
    "multiple_trainloader_mode": "Pass `CombinedLoader(loaders, mode)`.",
    "move_metrics_to_cpu": "Leave it out: metrics stay where they are until they are read.",
    "model_registry": "Pass the path of a checkpoint: lt reads no registry.",
}


def translate(old: dict[str, Any], known: list[str]) -> dict[str, Any]:
    """New arguments for old ones; unknown ones are an error with the nearest name."""
    new: dict[str, Any] = {}
    for name, value in old.items():
        if name in REMOVED and value is None:
            continue
        if name in REMOVED:
            raise TypeError(f"`Trainer` no longer takes `{name}`. {REMOVED[name]}")
        given = _renamed(name, value)
        if given is None:
            raise TypeError(f"`Trainer` has no argument `{name}`. {did_you_mean(name, known)}")
        said = ", ".join(f"{k}={v!r}" for k, v in given.items()) or "nothing"
        warnings.warn(
            f"`Trainer({name}={value!r})` is an old spelling. Write `{said}`.", DeprecationWarning, stacklevel=4
        )
        new.update(given)
    return new


def _renamed(name: str, value: Any) -> dict[str, Any] | None:
    if name in ("gpus", "tpu_cores", "ipus"):
        if not value:
            return {"accelerator": "cpu"}
        return {"accelerator": {"gpus": "gpu", "tpu_cores": "tpu", "ipus": "ipu"}[name], "devices": value}
    if name == "num_processes":
        return {"devices": value}
    if name == "auto_select_gpus":
        return {}
    if name == "checkpoint_callback":
        return {"enable_checkpointing": bool(value)}
    if name == "progress_bar_refresh_rate":
        return {"enable_progress_bar": bool(value)}
    if name in ("weights_summary", "summarize"):
        return {"enable_model_summary": value is not None}
    if name == "distributed_backend":
        return {"strategy": value}
    if name == "replace_sampler_ddp":
        return {"use_distributed_sampler": bool(value)}
    if name == "suggest_integrations":
        return {}
    return None
