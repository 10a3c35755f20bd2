"""Metrics and hyperparameters on Comet."""

from __future__ import annotations

import atexit
import inspect
import os
import secrets
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from lt_interfaces import did_you_mean, rank_zero_warn

from lt_loggers.hparams import flatten
from lt_loggers.last_run import LAST, last_run, remember_run
from lt_loggers.remote_logger import Record, RemoteLogger

OLD_NAMES = {"project_name": "project", "experiment_name": "name", "offline": "online"}
MODES = (None, "get_or_create", "get", "create")


class CometLogger(RemoteLogger):
    """Logs to an experiment of Comet, or with `online=False` to an archive that `comet upload` sends later.

    `project` is the logger's `name`, the experiment's key its `version`. `experiment_key` continues an experiment,
    `experiment_key="last"` the one that was logged from this folder before. A server that cannot be reached makes the
    experiment offline. `kwargs` go to `comet_ml.ExperimentConfig`. The key for the server is best left to
    `comet login` or `COMET_API_KEY`; one that is given here is written nowhere. `save_dir` is `offline_directory`.
    """

    def __init__(
        self,
        *,
        api_key: str | None = None,
        workspace: str | None = None,
        project: str | None = None,
        experiment_key: str | None = None,
        mode: str | None = None,
        online: bool | None = None,
        prefix: str | None = None,
        **kwargs: Any,
    ) -> None:
        if find_spec("comet_ml") is None:
            raise ImportError(
                '`CometLogger` needs comet_ml, which is not installed. Run `pip install "lt-loggers[comet]"`.'
            )
        if mode not in MODES:
            raise ValueError(f"`mode` must be one of {MODES[1:]}, got {mode!r}. {did_you_mean(str(mode), MODES[1:])}")
        kwargs, project, online = _renamed(kwargs, project, online)
        folder = kwargs.setdefault("offline_directory", kwargs.pop("save_dir", "."))
        project = project or os.environ.get("COMET_PROJECT_NAME") or "general"
        if experiment_key == LAST:
            experiment_key = last_run(folder, project, "comet")
        super().__init__(folder, project, experiment_key or os.environ.get("COMET_EXPERIMENT_KEY"), prefix or "")
        self._names.update(epoch="epoch")  # Comet has a place of its own for it
        self._api_key, self._workspace, self._mode, self._online = api_key, workspace, mode, online
        self._kwargs = kwargs

    def choose_version(self) -> str:
        return secrets.token_hex(16)

    def connect(self) -> Any:
        comet = import_module("comet_ml")
        is_online = self._online is not False
        try:
            experiment = self._start(comet, is_online)
        except Exception as error:
            if not is_online:
                raise
            experiment = self._start(comet, False)
            self.say(
                f"Comet cannot be reached: {self.shown(error)}. The experiment is kept in {self._run.save_dir!r} "
                "instead; send it with `comet upload`."
            )
        remember_run(self._run, "comet", experiment.get_key())
        atexit.register(experiment.end)  # by itself it ends well only where the main thread has started it
        return experiment

    def _start(self, comet: Any, is_online: bool) -> Any:
        os.makedirs(self._run.save_dir, exist_ok=True)
        return comet.start(
            api_key=self._api_key,
            workspace=self._workspace,
            project=self.name,
            experiment_key=self.version,
            mode=self._mode if is_online else None,
            online=is_online,
            experiment_config=comet.ExperimentConfig(**{"display_summary_level": 0, **self._kwargs}),
        )

    def send(self, experiment: Any, records: Sequence[Record]) -> None:
        for record in records:
            metrics = dict(record.metrics)
            epoch = metrics.pop("epoch", None)
            experiment.log_metrics(metrics, step=record.step, epoch=None if epoch is None else int(epoch))

    def send_hyperparams(self, experiment: Any, params: dict[str, Any]) -> None:
        experiment.log_parameters(flatten(params))

    def end(self, experiment: Any, status: str) -> None:
        experiment.log_other("status", status)
        experiment.flush()

    def shown(self, error: BaseException) -> str:
        text = super().shown(error)
        return text.replace(self._api_key, "***") if self._api_key else text


def _renamed(
    kwargs: dict[str, Any], project: str | None, online: bool | None
) -> tuple[dict[str, Any], str | None, bool | None]:
    kwargs = dict(kwargs)
    for old, new in OLD_NAMES.items():
        if old in kwargs:
            value = kwargs.pop(old)
            rank_zero_warn(f"`CometLogger({old}=...)` is called `{new}` now. Use that name.")
            if new == "project":
                project = project or value
            elif new == "online":
                online = not value if online is None else online
            else:
                kwargs.setdefault(new, value)
    if kwargs.pop("rest_api_key", None) is not None:
        rank_zero_warn("`CometLogger` has no use for `rest_api_key`. Leave it out.")
    if kwargs.keys() - {"save_dir", "offline_directory"}:
        known = list(inspect.signature(import_module("comet_ml").ExperimentConfig).parameters)
        for key in kwargs:
            if key not in (*known, "save_dir"):
                raise TypeError(f"`{key}` is no argument of `ExperimentConfig`. {did_you_mean(key, known)}")
    return kwargs, project, online
