"""Which checkpoints a run leaves behind, and under which names; when is for the schedule to say."""

import contextlib
import os
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Literal, NamedTuple

from lt_interfaces import MisconfigurationException, Trainer, rank_zero_info, rank_zero_warn
from torch import Tensor

from lt_callbacks import checkpoint_paths as paths
from lt_callbacks import ranking
from lt_callbacks.checkpoint import may_save_after
from lt_callbacks.kept_files import KeptFiles
from lt_callbacks.monitor import Monitor, number
from lt_callbacks.save_schedule import Due, SaveSchedule


class Plan(NamedTuple):
    """What rank zero decided about one save: the new file, what it displaces, where `last` goes."""

    path: str = ""
    score: Tensor | None = None
    evicted: str = ""
    last: str = ""


class ModelCheckpoint(KeptFiles):
    """Saves checkpoints by steps, time or epochs; keeps the `save_top_k` best, or the newest without `monitor`.

    A scored file holds the weights that the score was computed with: where the trigger fires between validations, the
    save waits for the next one. `save_last` (True and "link" alike) keeps `last.ckpt` as new as the newest trigger and
    as the end of training, whether or not the score improved. A file is deleted after the one that replaces it is
    complete, and only if this callback wrote it; the file that the run resumed from stays. SIGTERM makes the first
    of a trainer's checkpoint callbacks save the step at which the run stops, `save_on_exception` any failure.
    """

    CHECKPOINT_JOIN_CHAR = "-"
    CHECKPOINT_EQUALS_CHAR = "="
    CHECKPOINT_NAME_LAST = "last"
    FILE_EXTENSION = ".ckpt"
    STARTING_VERSION = 1
    device_reads = 0

    def __init__(
        self,
        dirpath: str | os.PathLike[str] | None = None,
        filename: str | None = None,
        monitor: str | None = None,
        verbose: bool = False,
        save_last: bool | Literal["link"] | None = None,
        save_top_k: int = 1,
        save_on_exception: bool = False,
        save_weights_only: bool = False,
        mode: str = "min",
        auto_insert_metric_name: bool = True,
        every_n_train_steps: int | None = None,
        train_time_interval: timedelta | None = None,
        every_n_epochs: int | None = None,
        save_on_train_epoch_end: bool | None = None,
        enable_version_counter: bool = True,
    ) -> None:
        super().__init__(monitor, mode, save_top_k, paths.absolute(dirpath))
        if save_last not in (None, True, False, "link"):
            raise MisconfigurationException(f"`save_last` got {save_last!r}. Give True, False or 'link'.")
        self.filename = filename or self.CHECKPOINT_JOIN_CHAR.join(("{epoch}", "{step}"))
        for template in (self.filename, self.CHECKPOINT_NAME_LAST):
            paths.check(template)
        self.verbose = verbose
        self.save_last = save_last
        self.save_on_exception = save_on_exception
        self.save_weights_only = save_weights_only
        self.auto_insert_metric_name = auto_insert_metric_name
        self.enable_version_counter = enable_version_counter
        if every_n_train_steps is None and every_n_epochs is None and train_time_interval is None:
            every_n_epochs = 1
        self.every_n_train_steps, self.every_n_epochs = every_n_train_steps or 0, every_n_epochs or 0
        self.train_time_interval = train_time_interval
        self._schedule = SaveSchedule(
            Monitor(monitor if save_top_k else None, type(self).__name__),
            self.every_n_train_steps,
            train_time_interval,
            self.every_n_epochs,
            save_on_train_epoch_end,
            paths.names_metrics(self.filename),
        )
        self._active = True
        self._saved_step = self._last_step = 0
        self._leaving: list[str] = []
        """Files that the newest save replaces; a kill may come before they are deleted."""

    @property
    def state_key(self) -> str:
        told = ("monitor", "mode", "every_n_train_steps", "every_n_epochs", "train_time_interval")
        return type(self).__qualname__ + repr({name: getattr(self, name) for name in told})

    def state_dict(self) -> dict[str, Any]:
        steps = {"saved_step": self._saved_step, "last_step": self._last_step}
        own = {**steps, "schedule": self._schedule.state_dict(), "leaving": list(self._leaving)}
        return super().state_dict() | own

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self._schedule.load_state_dict(state_dict.get("schedule", {}))
        if self.continues_in_folder_of(state_dict):
            self._saved_step, self._last_step = state_dict.get("saved_step", 0), state_dict.get("last_step", 0)
            self._leaving = list(state_dict.get("leaving", ()))

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        self._active = stage == "fit" and not trainer.fast_dev_run
        if self._active:
            chosen = (self.dirpath or paths.default_folder(trainer)) if trainer.is_global_zero else None
            self.dirpath = trainer.engine.broadcast(chosen)
            if hasattr(trainer, "claim_folder"):
                trainer.claim_folder(self.dirpath)
            self._saved_step = self._last_step = 0
            self._schedule.start()

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        if self._active:
            self._schedule.start_clock()
            if self.best_k_models:
                self._forget_lost_files(trainer)
            if any(self._is_resumed(trainer, path) for path in (self.best_model_path, *self.best_k_models)):
                self._last_step = 0  # a kill may have come between the save and its link
            self._discard_leaving(trainer)

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self._schedule.by_batch and self._active and self._schedule.batch_is_due(trainer):
            self._act(trainer, self._schedule.after_batch(trainer, batch_idx))

    def on_validation_start(self, trainer: Trainer, pl_module: Any) -> None:
        if self._active and not trainer.sanity_checking:
            self._schedule.before_validation(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        if self._active and not trainer.sanity_checking:
            self._act(trainer, self._schedule.after_validation(trainer))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        if self._active:
            self._act(trainer, self._schedule.after_epoch(trainer))

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        if not self._active:
            return
        if self._schedule.is_owed and self.monitor is not None and not self.best_k_models:
            rank_zero_warn(
                f"`{self.monitor}` never had a value that belongs to the weights at a save; the last weights are saved "
                "without a score. Validate at least as often as you save."
            )
            self._save(trainer, scored=False)
        elif self.monitor is None and self.every_n_epochs == 1:
            self._save(trainer)
        self._save_last(trainer)

    def on_exception(self, trainer: Trainer, pl_module: Any, exception: BaseException) -> None:
        """Save under the usual name, unranked; with several processes only what ends all of them is followed."""
        is_preempted = trainer.received_sigterm and trainer.checkpoint_callback is self
        acts = (self.save_on_exception or is_preempted) and self._active and not trainer.sanity_checking
        if acts and trainer.global_step not in (0, self._saved_step) and may_save_after(trainer, exception):
            try:
                self._save_unranked(trainer)
            except Exception as error:
                rank_zero_warn(f"The checkpoint on exception could not be written: {error}")

    def format_checkpoint_name(
        self, metrics: Mapping[str, Any], filename: str | None = None, ver: int | None = None, prefix: str | None = None
    ) -> str:
        """The path for these metrics: the template (by default the callback's own) rendered, below `dirpath`."""
        equals = self.CHECKPOINT_EQUALS_CHAR if self.auto_insert_metric_name else None
        name = paths.render(filename or self.filename, metrics, equals)
        parts = (prefix, name, None if ver is None else f"v{ver}")
        return os.path.join(
            self.dirpath or "", self.CHECKPOINT_JOIN_CHAR.join(p for p in parts if p) + self.FILE_EXTENSION
        )

    def _act(self, trainer: Trainer, due: Due) -> None:
        if due is Due.ALL:
            self._save(trainer)
        elif due is Due.LAST:
            self._save_last(trainer)

    def _save(self, trainer: Trainer, scored: bool = True) -> None:
        if trainer.global_step not in (0, self._saved_step):
            metrics = self._metrics(trainer)
            plan = self._plan(trainer, metrics, scored) if trainer.is_global_zero else None
            self._commit(trainer, trainer.engine.broadcast(plan))

    def _save_last(self, trainer: Trainer) -> None:
        if self.save_last and trainer.global_step not in (0, self._last_step):
            metrics = self._metrics(trainer)
            last = self._last_path(trainer, metrics) if trainer.is_global_zero else ""
            self._commit(trainer, Plan(last=trainer.engine.broadcast(last)), ranked=False)

    def _save_unranked(self, trainer: Trainer) -> None:
        metrics = self._metrics(trainer)
        names = [self._free_path(trainer, metrics)] if trainer.is_global_zero else []
        if trainer.is_global_zero and self.save_last:
            names.append(self._last_path(trainer, metrics))
        names = trainer.engine.broadcast(names)
        if len(names) > 1:  # one that is started again goes on with this `last`, and needs no second name for it
            self._leaving, self.last_model_path, self._last_step = names[:1], names[1], trainer.global_step
        self._write(trainer, names)

    def _plan(self, trainer: Trainer, metrics: Mapping[str, Any], scored: bool) -> Plan:
        last = self._last_path(trainer, metrics) if self.save_last else ""
        if self.save_top_k == 0:
            return Plan(last=last)
        if self.monitor is None:
            evicted = self.best_model_path if self.save_top_k == 1 else ""
            return Plan(self._free_path(trainer, metrics, evicted), None, evicted, last)
        self.device_reads += 1
        score = number(metrics[self.monitor] if scored else float("nan"), self.monitor)
        score = ranking.comparable(score, self.mode)
        if not self.check_monitor_top_k(trainer, score):
            return Plan("", score, "", last)
        evicted = self.kth_best_model_path
        return Plan(self._free_path(trainer, metrics, evicted), score, evicted, last)

    def _metrics(self, trainer: Trainer) -> dict[str, Any]:
        """Read on all ranks: computing a metric may be a collective."""
        return {**trainer.callback_metrics, "epoch": trainer.current_epoch, "step": trainer.global_step}

    def _free_path(self, trainer: Trainer, metrics: Mapping[str, Any], replaced: str = "") -> str:
        """The path for these metrics, with a version if something is there that may not be overwritten."""
        return self._versioned(trainer, metrics, self.filename, "" if self._is_resumed(trainer, replaced) else replaced)

    def _last_path(self, trainer: Trainer, metrics: Mapping[str, Any]) -> str:
        return self._versioned(trainer, metrics, self.CHECKPOINT_NAME_LAST, self.last_model_path)

    def _versioned(self, trainer: Trainer, metrics: Mapping[str, Any], template: str, replaced: str) -> str:
        path, version = self.format_checkpoint_name(metrics, template), self.STARTING_VERSION
        if not paths.is_inside(path, self.dirpath or ""):
            raise ValueError(f"The checkpoint name {path!r} leads out of `dirpath`. Use a name without folders.")
        while self.enable_version_counter and path != replaced and self.file_exists(path, trainer):
            path, version = self.format_checkpoint_name(metrics, template, ver=version), version + 1
        return path

    def _is_resumed(self, trainer: Trainer, path: str) -> bool:
        return path != "" and paths.is_same(path, trainer.ckpt_path)

    def _commit(self, trainer: Trainer, plan: Plan, ranked: bool = True) -> None:
        """Write what was planned, then delete what it replaces; the state in the file already counts the file."""
        before = self.state_dict()
        self._leaving = [path for path in (plan.evicted, self.last_model_path) if path]
        if ranked:
            self._saved_step = trainer.global_step
        if plan.path:
            self.current_score = plan.score
            self._keep(plan.path, plan.score, plan.evicted)
        if plan.last:
            self.last_model_path, self._last_step = plan.last, trainer.global_step
        try:
            self._write(trainer, [path for path in (plan.path, plan.last) if path])
        except BaseException:
            self.load_state_dict(before)
            raise
        self._discard_leaving(trainer)

    def _discard_leaving(self, trainer: Trainer) -> None:
        for path in self._leaving:
            self._discard(trainer, path)
        self._leaving = []

    def _write(self, trainer: Trainer, names: list[str]) -> None:
        """One serialisation, however many names."""
        link = getattr(trainer, "link_checkpoint", None)
        for i, path in enumerate(names):
            if i > 0 and link is not None:
                link(names[0], path)
            else:
                trainer.save_checkpoint(path, self.save_weights_only)
        if names:
            trainer.call_loggers("after_save_checkpoint", self)
        if names and self.verbose:
            score = self.best_k_models.get(names[0])
            told = "" if score is None else f", `{self.monitor}` {score.item():.5g}"
            rank_zero_info(f"Epoch {trainer.current_epoch}, step {trainer.global_step}{told}: saved {names[0]}")

    def _discard(self, trainer: Trainer, path: str) -> None:
        in_use = path in ("", self.best_model_path, self.last_model_path, *self.best_k_models)
        if not in_use and paths.is_inside(path, self.dirpath or "") and not self._is_resumed(trainer, path):
            with contextlib.suppress(FileNotFoundError):
                trainer.remove_checkpoint(path)
