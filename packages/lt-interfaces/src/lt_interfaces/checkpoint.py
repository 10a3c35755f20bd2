"""The keys of a checkpoint, Lightning's layout: each framework loads the other's files."""

from typing import Any, NotRequired, TypedDict

Checkpoint = TypedDict(
    "Checkpoint",
    {
        "epoch": int,
        "global_step": int,
        "pytorch-lightning_version": str,
        "state_dict": dict[str, Any],
        "loops": NotRequired[dict[str, Any]],
        "callbacks": NotRequired[dict[str, dict[str, Any]]],
        "optimizer_states": NotRequired[list[dict[str, Any]]],
        "lr_schedulers": NotRequired[list[dict[str, Any]]],
        "hparams_name": NotRequired[str],
        "hyper_parameters": NotRequired[dict[str, Any]],
        "datamodule_hparams_name": NotRequired[str],
        "datamodule_hyper_parameters": NotRequired[dict[str, Any]],
        "lt": NotRequired[dict[str, Any]],
    },
)
Checkpoint.__doc__ = "A full training checkpoint; what lt adds to Lightning's keys lives under `lt`."
