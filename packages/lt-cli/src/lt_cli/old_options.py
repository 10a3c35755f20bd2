"""Options of former years, and what is written instead."""

INSTEAD = {
    "gpus": "Write `--accelerator gpu --devices {}`.",
    "num_gpus": "Write `--accelerator gpu --devices {}`.",
    "tpu_cores": "Write `--accelerator tpu --devices {}`.",
    "num_processes": "Write `--devices {}`.",
    "distributed_backend": "Write `--strategy {}`.",
    "resume_from_checkpoint": "Write `--ckpt_path {}`.",
    "checkpoint_callback": "Write `--enable_checkpointing {}`.",
    "progress_bar_refresh_rate": "Write `--enable_progress_bar false` for no bar.",
    "weights_summary": "Write `--enable_model_summary false` for no summary.",
    "replace_sampler_ddp": "Write `--use_distributed_sampler {}`.",
    "auto_lr_find": "Write `--callbacks+=LearningRateFinder`.",
    "auto_scale_batch_size": "Write `--callbacks+=BatchSizeFinder`.",
    "stochastic_weight_avg": "Write `--callbacks+=StochasticWeightAveraging`.",
    "amp_backend": "Leave it out: torch's own mixed precision is used.",
    "amp_level": "Leave it out: torch's own mixed precision is used.",
}


def instead_of(name: str, value: str) -> str | None:
    """What to write in place of an old option, None if it is none."""
    remedy = INSTEAD.get(name.removeprefix("trainer."))
    return remedy and remedy.format("N" if value.startswith("--") or not value else value)
