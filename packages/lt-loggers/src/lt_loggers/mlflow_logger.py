"""Metrics, hyperparameters and checkpoints on an MLflow server, or in a database without one."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from lt_interfaces import rank_zero_warn

from lt_loggers.checkpoint_uploads import CheckpointUploads, SavedCheckpoint, UploadingLogger
from lt_loggers.hparams import flatten
from lt_loggers.last_run import LAST, last_run, remember_run
from lt_loggers.metrics import Names
from lt_loggers.remote_logger import Record
from lt_loggers.run_directory import StrPath

BATCH = 1000  # numbers in one request, at most
PARAMS = 100  # parameters in one request, at most
NOBODY_THERE = ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED", "BAD_GATEWAY")
_FORBIDDEN = re.compile(r"[^\w\-. /]", re.ASCII)


class MLFlowLogger(UploadingLogger):
    """Logs to a run of MLflow: at `tracking_uri`, by default `MLFLOW_TRACKING_URI`, else a database in `save_dir`.

    `experiment_name` is the logger's `name`, the run's id its `version`. `run_id` continues a run, `run_id="last"` the
    one that was logged from this folder before. `log_model="all"` uploads each checkpoint, True those that are there in
    the end. `experiment` is the `MlflowClient`. Records of half a second travel in one request.
    """

    def __init__(
        self,
        experiment_name: str = "lightning_logs",
        run_name: str | None = None,
        tracking_uri: str | None = None,
        tags: Mapping[str, Any] | None = None,
        save_dir: StrPath | None = "./mlruns",
        log_model: bool | str = False,
        prefix: str = "",
        artifact_location: str | None = None,
        run_id: str | None = None,
        synchronous: bool | None = None,
    ) -> None:
        if find_spec("mlflow") is None:
            raise ImportError(
                '`MLFlowLogger` needs mlflow, which is not installed. Run `pip install "lt-loggers[mlflow]"`, which is '
                "enough to talk to a server, or `pip install mlflow`."
            )
        self._uploads = CheckpointUploads(log_model)
        folder = "./mlruns" if save_dir is None else save_dir
        if run_id == LAST:
            run_id = last_run(folder, experiment_name, "mlflow")
        super().__init__(folder, experiment_name, run_id, prefix)
        self._names = Names(prefix, _allowed_or_told)
        self._run_id, self._run_name, self._tags = run_id, run_name, dict(tags or {})
        self._uri, self._artifact_location = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI"), artifact_location
        self._how = {} if synchronous is None else {"synchronous": synchronous}
        self._sent: dict[str, str] = {}

    @property
    def run_id(self) -> str | None:
        """The run's id; None as long as the server has not answered."""
        self._wait_for_connection()
        return self._run_id

    def choose_version(self) -> int | str:
        return self.run_id or super().choose_version()

    def connect(self) -> Any:
        folder = Path(self._run.save_dir).absolute()
        place, uri = self._artifact_location, self._uri
        if uri is None:
            folder.mkdir(parents=True, exist_ok=True)
            uri, place = f"sqlite:///{folder / 'mlflow.db'}", place or (folder / "artifacts").as_uri()
        client = import_module("mlflow.tracking").MlflowClient(uri)
        if self._run_id is None:
            found = client.get_experiment_by_name(self.name)
            experiment = found.experiment_id if found else client.create_experiment(self.name, place)
            tags = import_module("mlflow.tracking.context.registry").resolve_tags(self._tags)
            self._run_id = client.create_run(experiment, tags=tags, run_name=self._run_name).info.run_id
        else:
            self._sent = dict(client.get_run(self._run_id).data.params)
            client.update_run(self._run_id, "RUNNING")
        remember_run(self._run, "mlflow", self._run_id)
        return client

    def send(self, experiment: Any, records: Sequence[Record]) -> None:
        metric = import_module("mlflow.entities").Metric
        numbers = [
            metric(name, value, int(record.time * 1000), record.step)
            for record in records
            for name, value in record.metrics.items()
        ]
        for start in range(0, len(numbers), BATCH):
            experiment.log_batch(self._run_id, metrics=numbers[start : start + BATCH], **self._how)

    def send_hyperparams(self, experiment: Any, params: dict[str, Any]) -> None:
        param = import_module("mlflow.entities").Param
        flat = {_allowed(name): str(value) for name, value in flatten(params).items()}
        new = [param(name, value) for name, value in flat.items() if name not in self._sent]
        for start in range(0, len(new), PARAMS):
            experiment.log_batch(self._run_id, params=new[start : start + PARAMS])
        for name, value in flat.items():
            if self._sent.setdefault(name, value) != value:  # MLflow never changes a parameter
                experiment.set_tag(self._run_id, f"changed/{name}", value)

    def end(self, experiment: Any, status: str) -> None:
        experiment.set_terminated(self._run_id, "FAILED" if status == "failed" else "FINISHED")

    def is_away(self, error: Exception) -> bool:
        return super().is_away(error) or getattr(error, "error_code", None) in NOBODY_THERE

    def upload(self, experiment: Any, saved: SavedCheckpoint, path: str) -> None:
        place = Path(saved.path).stem
        log = experiment.log_artifacts if os.path.isdir(path) else experiment.log_artifact
        log(self._run_id, path, place)
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "metadata.yaml").write_text(yaml.safe_dump(saved.metadata))
            Path(folder, "aliases.txt").write_text(str(saved.aliases))
            experiment.log_artifacts(self._run_id, folder, place)


def _allowed(name: str) -> str:
    return _FORBIDDEN.sub("_", name)


def _allowed_or_told(name: str) -> str:
    allowed = _allowed(name)
    if allowed != name:
        rank_zero_warn(
            f"MLflow takes no metric called {name!r}, so it is logged as {allowed!r}. Use letters, digits and _ - . /"
        )
    return allowed
