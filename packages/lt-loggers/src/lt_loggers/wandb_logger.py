"""Metrics, hyperparameters, media and checkpoints on Weights & Biases."""

from __future__ import annotations

import inspect
import os
import secrets
import sys
from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from lt_interfaces import did_you_mean, rank_zero_only, rank_zero_warn

from lt_loggers.checkpoint_uploads import CheckpointUploads, SavedCheckpoint, UploadingLogger
from lt_loggers.last_run import LAST, last_run, remember_run
from lt_loggers.remote_logger import Record
from lt_loggers.run_directory import StrPath

STEP = "trainer/global_step"
INIT_ARGUMENTS = (
    "allow_val_change", "config", "config_exclude_keys", "config_include_keys", "entity", "force", "fork_from", "group",
    "job_type", "mode", "monitor_gym", "notes", "reinit", "resume", "resume_from", "save_code", "settings",
    "sync_tensorboard", "tags", "tensorboard",
)  # fmt: skip
_opened: set[str] = set()


class WandbLogger(UploadingLogger):
    """Logs to a run of Weights & Biases, or with `offline=True` to files that `wandb sync` sends later.

    `project` is the logger's `name`, the run's `id` its `version`; `name` is what the page calls the run. The same `id`
    continues a run, `id="last"` the one that was logged from this folder before. A server that cannot be reached makes
    the run offline. `log_model="all"` uploads each checkpoint, True those that are there in the end. `kwargs` go to
    `wandb.init`. The run stays open until the program ends or `wandb.finish()`; keys come from `wandb login`.
    """

    batch_size = 1000

    def __init__(
        self,
        name: str | None = None,
        save_dir: StrPath = ".",
        version: str | None = None,
        offline: bool = False,
        dir: StrPath | None = None,
        id: str | None = None,
        anonymous: bool | None = None,
        project: str | None = None,
        log_model: bool | str = False,
        experiment: Any = None,
        prefix: str = "",
        checkpoint_name: str | None = None,
        add_file_policy: Literal["mutable", "immutable"] = "mutable",
        **kwargs: Any,
    ) -> None:
        _check(add_file_policy, kwargs)
        self._uploads = CheckpointUploads(log_model)
        self._checkpoint_name, self._policy = checkpoint_name, add_file_policy
        self._is_offline = offline or kwargs.get("mode", os.environ.get("WANDB_MODE")) == "offline"
        run = experiment or _active_run(name, version or id)
        project = project or (run and run.project) or os.environ.get("WANDB_PROJECT") or "lightning_logs"
        version = run.id if run else version or id
        folder = dir or save_dir
        if version == LAST:
            version = last_run(folder, project, "wandb")
        super().__init__(folder, project, version, prefix)
        self._given = run
        self._init = {"name": name, "anonymous": anonymous, **kwargs}

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_given": None}

    def choose_version(self) -> str:
        return os.environ.get("WANDB_RUN_ID") or secrets.token_hex(4)

    def connect(self) -> Any:
        run = self._given or self._open_run()
        if getattr(run, "define_metric", None) is not None:
            run.define_metric(STEP)
            run.define_metric("*", step_metric=STEP, step_sync=True)
        remember_run(self._run, "wandb", run.id)
        return run

    def _open_run(self) -> Any:
        import wandb

        folder = self._run.save_dir
        os.makedirs(folder, exist_ok=True)
        init = {"project": self.name, "id": self.version, "dir": folder} | {
            key: value for key, value in self._init.items() if value is not None
        }
        # Two loggers are two runs; wandb itself would hand out the first one again.
        if wandb.run is not None:
            init.setdefault("reinit", "create_new")
        _opened.add(str(self.version))
        if self._is_offline:
            return wandb.init(**{"settings": {"quiet": True}, **init, "mode": "offline"})
        try:
            return wandb.init(**{"resume": "allow", **init})
        except wandb.Error as error:
            if wandb.run is not None:  # its other runs would end with the service, so try again later
                raise
            wandb.teardown()  # the service still holds the run's id
            run = wandb.init(**{**init, "mode": "offline"})
            self.say(
                f"W&B cannot be reached: {self.shown(error)}. The run is kept here instead; send it with "
                f"`wandb sync {Path(run.dir).parent}`."
            )
            return run

    def send(self, experiment: Any, records: Sequence[Record]) -> None:
        for record in records:
            experiment.log({**record.metrics, STEP: record.step})

    def send_hyperparams(self, experiment: Any, params: dict[str, Any]) -> None:
        experiment.config.update(params, allow_val_change=True)

    def watch(
        self, model: Any, log: str | None = "gradients", log_freq: int = 100, log_graph: bool = True, **kwargs: Any
    ) -> None:
        """Let wandb log histograms of gradients ("gradients"), parameters ("parameters") or both ("all")."""
        self.experiment.watch(model, log=log, log_freq=log_freq, log_graph=log_graph, **kwargs)

    @rank_zero_only
    def log_table(
        self,
        key: str,
        columns: list[str] | None = None,
        data: list[list[Any]] | None = None,
        dataframe: Any = None,
        step: int | None = None,
    ) -> None:
        """Log a table, given as columns with rows of data or as a data frame."""
        data = None if data is None else [list(row) for row in data]
        self._log_media(key, "Table", [{"columns": columns, "data": data, "dataframe": dataframe}], step)

    @rank_zero_only
    def log_text(
        self,
        key: str,
        columns: list[str] | None = None,
        data: list[list[str]] | None = None,
        dataframe: Any = None,
        step: int | None = None,
    ) -> None:
        """Log texts, as a table."""
        self.log_table(key, columns, data, dataframe, step)

    def log_image(self, key: str, images: list[Any], step: int | None = None, **kwargs: Any) -> None:
        """Log tensors, arrays, PIL images or paths; other arguments (`caption`, ...) are lists, one item per image."""
        self._log_list(key, "Image", images, step, kwargs)

    def log_audio(self, key: str, audios: list[Any], step: int | None = None, **kwargs: Any) -> None:
        """Log arrays or paths of sound; other arguments (`sample_rate`, ...) are lists, one item per sound."""
        self._log_list(key, "Audio", audios, step, kwargs)

    def log_video(self, key: str, videos: list[Any], step: int | None = None, **kwargs: Any) -> None:
        """Log arrays or paths of videos; other arguments (`fps`, `format`, ...) are lists, one item per video."""
        self._log_list(key, "Video", videos, step, kwargs)

    @staticmethod
    @rank_zero_only
    def download_artifact(
        artifact: str, save_dir: StrPath | None = None, artifact_type: str | None = None, use_artifact: bool = True
    ) -> str:
        """Fetch an artifact, `"entity/project/name:version"`, and return its folder; the active run notes its use."""
        import wandb

        if wandb.run is not None and use_artifact:
            found = wandb.run.use_artifact(artifact, type=artifact_type)
        else:
            found = wandb.Api().artifact(artifact, type=artifact_type)
        return str(found.download(root=None if save_dir is None else os.fspath(save_dir)))

    def use_artifact(self, artifact: str, artifact_type: str | None = None) -> Any:
        """The artifact, noted as an input of this run."""
        return self.experiment.use_artifact(artifact, type=artifact_type)

    def upload(self, experiment: Any, saved: SavedCheckpoint, path: str) -> None:
        import wandb

        name = self._checkpoint_name or f"model-{experiment.id}"
        artifact = wandb.Artifact(name, type="model", metadata=saved.metadata)
        if os.path.isdir(path):
            artifact.add_dir(path, name="model.ckpt", policy=self._policy)
        else:
            artifact.add_file(path, name="model.ckpt", policy=self._policy)
        logged = experiment.log_artifact(artifact, aliases=saved.aliases)
        if self._policy == "immutable" and not self._is_offline:
            logged.wait()  # it reads the file when it uploads it

    def _log_list(self, key: str, kind: str, items: Any, step: int | None, options: dict[str, Any]) -> None:
        if not isinstance(items, list):
            raise TypeError(f"`{key}` takes a list, got {type(items).__name__}. Wrap a single one in a list.")
        for name, values in options.items():
            if len(values) != len(items):
                raise ValueError(f"`{name}` has {len(values)} items for {len(items)} of `{key}`. Give one for each.")
        media = [
            {"data_or_path": _copied(item)} | {name: values[i] for name, values in options.items()}
            for i, item in enumerate(items)
        ]
        self._log_media(key, kind, media, step)

    @rank_zero_only
    def _log_media(self, key: str, kind: str, media: list[dict[str, Any]], step: int | None) -> None:
        self._last_step = step = self._last_step + 1 if step is None else step
        name = self._names[key]
        self.hand_over(f"log_{kind.lower()} {name}", partial(_log_made, name=name, kind=kind, media=media, step=step))


def _log_made(run: Any, *, name: str, kind: str, media: list[dict[str, Any]], step: int) -> None:
    import wandb

    made: list[Any] = []
    for given in media:
        # Files are given by their first argument, which each kind calls otherwise.
        first = (given.pop("data_or_path"),) if "data_or_path" in given else ()
        made.append(getattr(wandb, kind)(*first, **given))
    run.log({name: made if kind != "Table" else made[0], STEP: step})


def _copied(item: Any) -> Any:
    """The item as it is now, left on its device; it is encoded later, and may have changed by then."""
    if hasattr(item, "detach"):
        return item.detach().clone()
    return item.copy() if hasattr(item, "copy") else item


def _active_run(name: str | None, version: str | None) -> Any:
    """The run that the user has opened, if there is one."""
    run = getattr(sys.modules.get("wandb"), "run", None)
    if run is None or run.id in _opened:
        return None
    if (name or run.name, version or run.id) != (run.name, run.id):
        rank_zero_warn(
            f"W&B's active run {run.id!r} goes on, and `name={name!r}`, `id={version!r}` are not used. Call "
            "`wandb.finish()` first for a run of its own."
        )
    return run


def _check(add_file_policy: str, kwargs: dict[str, Any]) -> None:
    if find_spec("wandb") is None:
        raise ImportError('`WandbLogger` needs wandb, which is not installed. Run `pip install "lt-loggers[wandb]"`.')
    if add_file_policy not in ("mutable", "immutable"):
        raise ValueError(f"`add_file_policy` must be 'mutable' or 'immutable', got {add_file_policy!r}. Use 'mutable'.")
    unknown = [key for key in kwargs if key not in INIT_ARGUMENTS]
    if unknown:
        import wandb

        known = list(inspect.signature(wandb.init).parameters)
        for key in unknown:
            if key not in known:
                raise TypeError(f"`{key}` is no argument of `wandb.init`. {did_you_mean(key, known)}")
