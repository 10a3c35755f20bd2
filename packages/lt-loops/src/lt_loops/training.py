"""The fit loop: epochs of batches, validation where it is due, hooks at their moments."""

from collections.abc import Iterator
from typing import Any, Self

from lt_interfaces import Stage, is_overridden, rank_zero_info, rank_zero_warn

from lt_loops import metric_states, resumption, rng
from lt_loops.collection import TRAIN_STEP
from lt_loops.rollback import RollBack, go_back
from lt_loops.sources import Source
from lt_loops.training_data import TrainingData
from lt_loops.validation_schedule import ValidationSchedule


class FitLoop:
    """Trains; `run` is the whole of it.

    ::

        on_sanity_check_start, a few validation batches, on_sanity_check_end
        on_train_start
        for epoch in epochs:
            on_train_epoch_start
            for batch in loader:
                on_train_batch_start
                training_step
                on_before_zero_grad, optimizer_zero_grad
                on_before_backward, backward, on_after_backward
                on_before_optimizer_step, configure_gradient_clipping
                optimizer_step, lr_scheduler_step
                on_train_batch_end
                the validation loop, if due by batches or time
            lr_scheduler_step
            the validation loop, if due by epochs
            on_train_epoch_end
        on_train_end
    """

    def __init__(self, trainer: Any, max_epochs: int | None, min_epochs: int, max_steps: int, min_steps: int) -> None:
        self.trainer = trainer
        self.max_epochs, self.min_epochs = max_epochs, min_epochs
        self.max_steps, self.min_steps = max_steps, min_steps
        self.validation = ValidationSchedule(trainer)
        self.source = Source("train", None, None, None)
        self.data = TrainingData(trainer, self.validation)
        self.batch_idx = -1
        self.batches_before = 0
        """Batches of the epochs before this one."""
        self.first_step = 0
        self.optimization: Any = None
        self.at = "start"
        """Where training stands: "start" of an epoch, in the hooks after a "batch", in "validation" within the epoch,
        "ready" for the next batch, "closing" the epoch (its schedulers stepped, its validation running), in the hooks
        at "epoch_end", or where the callbacks have "decided"."""
        self.stepped = False
        self.resumed: dict[str, Any] | None = None
        """What a checkpoint says of this rank, until the first epoch has begun."""
        self.training_rng: dict[str, Any] | None = None
        self.metric_counts: dict[str, int] = {}
        self.validates_by_batch = False
        self._told_minimum = False
        self._validation_loaded = 0

    def run(self) -> None:
        """Train until a limit is reached or somebody says stop."""
        trainer, hooks = self.trainer, self.trainer.hooks
        self.first_step = trainer.progress.step
        within, ended = self._settle()
        self.setup_data()
        done = self.is_done() and not (within or ended)
        if self.num_batches == 0 or (done and self.resumed is None):
            return
        if not done and trainer.enable_validation and not trainer.validate_loop.loaders:
            with rng.isolated():
                trainer.setup_validation()
        if self.resumed is not None:
            trainer.validate_loop.load_state_dict(self.resumed.get("validation", ()))
        trainer.recorder.at_epoch("on_train_start")
        hooks.on_train_start()
        run_epoch = trainer.clock.measured("run_training_epoch", self.run_epoch)
        while within or not self.is_done():
            try:
                run_epoch()
                within = False
            except RollBack as request:
                go_back(trainer, request.path)
                within, _ = self._settle()
        trainer.stop_requests.check_at_end()
        self._restore_generators()
        trainer.recorder.close("on_train_end")
        hooks.on_train_end()

    def _restore_generators(self) -> None:
        """After a resume with nothing left to train."""
        if self.resumed is not None:
            rng.restore(self.resumed["rng"], self.data.feed.generators)

    def _settle(self) -> tuple[bool, bool]:
        """After a resume: whether something has to follow within the epoch; whether one had ended, which is done."""
        trainer, resumed, at = self.trainer, self.resumed, self.at
        if resumed is None:
            return False, False
        resumption.restore_records(trainer, resumed)
        ended = at in ("epoch_end", "decided")
        if ended:
            trainer.recorder.at_epoch("on_train_epoch_end")
            self.decide(again=at == "decided")
        return at in resumption.OWING and not ended, ended

    def run_epoch(self) -> None:
        """One epoch, from its start or from where a checkpoint left it."""
        trainer, progress = self.trainer, self.trainer.progress
        hooks, recorder = trainer.hooks, trainer.recorder
        if self.at == "closing":
            return self._close()
        owes = self.resumed is not None and self.at in resumption.OWING
        data = self.begin_epoch()
        recorder.at_epoch("on_train_epoch_start")
        if progress.batch == 0:
            feed = self.data.feed
            hooks.on_train_epoch_start()
            if self.data.feed is not feed:  # a hook had the loader requested again
                data = self.begin_epoch()
            if trainer.should_stop and self.may_stop():
                return self.end_epoch(skipped=True)
        self.optimization.refresh()
        recorder.at_steps(TRAIN_STEP)
        trainer.see_new_callbacks()
        optimize = trainer.clock.measured("run_training_batch", self.optimization, "steps")
        move, after_batch = trainer.transfer, self.after_batch
        self.validates_by_batch = self.validation.is_within_epoch()
        skipped = False
        if owes and after_batch():
            return self.end_epoch()
        for batch in data:
            self.batch_idx = batch_idx = progress.batch
            if batch is None:
                if (progress.epoch, batch_idx) not in self.data.left_out:
                    rank_zero_warn("The training loader gave None for a batch: it is skipped.")
                progress.batch += 1
                continue
            if move is not None:
                batch = move(batch, 0)
            recorder.next_batch(batch)
            if hooks.on_train_batch_start(batch, batch_idx) == -1:
                skipped = True
                break
            step = progress.step
            outputs = optimize(batch, batch_idx)
            progress.batch = batch_idx + 1
            self.stepped = progress.step != step
            self.at = "batch"
            hooks.on_train_batch_end(outputs, batch, batch_idx)
            if after_batch():
                break
        return self.end_epoch(skipped)

    def _close(self) -> None:
        """The end of an epoch whose batches were behind the run when it was saved."""
        resumed = self.resumed
        if resumed is not None:
            rng.restore(resumed["rng"], self.data.feed.generators)
        self.end_epoch()
        if resumed is not None:  # hooks may have drawn, and the next epoch goes on from there
            resumed["rng"] = rng.capture()  # the loader's own generators stand there by themselves

    def after_batch(self) -> bool:
        """What follows a batch and its hooks; True if no other batch is to follow."""
        trainer, progress, every = self.trainer, self.trainer.progress, self.trainer.log_every_n_steps
        step = progress.step
        if self.stepped and every and self.at != "validation" and (step % every == 0 or trainer.should_stop):
            trainer.call_loggers.record(trainer.recorder.step_record())
            trainer.call_loggers.learning_rates()
        if self.validates_by_batch and self.validation.is_due():
            self.validate()
            trainer.recorder.at_steps(TRAIN_STEP)
        if self.stepped and trainer.schedulers.plateau_on_step and progress.batch < self.num_batches:
            trainer.schedulers.step(trainer.schedulers.plateau_on_step, step)
        self.at = "ready"
        if len(trainer.callbacks) != trainer.known_callbacks:
            trainer.resolve_hooks()
        if trainer.stop_signal is not None and trainer.stop_requests.are_due():
            raise trainer.stop_signal
        return (trainer.should_stop and self.may_stop()) or step == self.max_steps

    def begin_epoch(self) -> Iterator[Any]:
        """An iterator over what is left of the epoch's data."""
        resumed, self.resumed = self.resumed, None
        if self.data.is_outdated():
            self.setup_data()
        batches = self.data.begin_epoch(resumed)
        self.at = "ready"
        measured: Iterator[Any] = self.trainer.clock.batches("[_TrainingEpochLoop].train_dataloader_next", batches)
        return measured

    def end_epoch(self, skipped: bool = False) -> None:
        """Everything that follows the last batch of an epoch, or the one at which training stopped."""
        trainer, progress = self.trainer, self.trainer.progress
        hooks, recorder = trainer.hooks, trainer.recorder
        cut = progress.step == self.max_steps and progress.batch < self.num_batches
        stopped = trainer.should_stop and self.may_stop() and progress.batch < self.num_batches
        if not (cut or stopped) and self.at != "closing":
            self.optimization.finish_window()
            if self.num_batches != float("inf") and progress.batch < self.num_batches and not skipped:
                rank_zero_info(f"The loader said {int(self.num_batches)} batches and gave {progress.batch}.")
            trainer.schedulers.step(trainer.schedulers.on_epoch, progress.epoch + 1)
            self.at = "closing"
        if not (cut or skipped) and self.validation.is_due(at_end=True):
            self.validate()
        if self.stepped and trainer.schedulers.plateau_on_step and progress.batch >= self.num_batches:
            trainer.schedulers.step(trainer.schedulers.plateau_on_step, progress.step)
        recorder.at_epoch("on_train_epoch_end")
        recorder.reduce()
        self.at = "ready" if cut or stopped else "epoch_end"
        hooks.on_train_epoch_end()
        self.decide(ended=not (cut or stopped))

    def decide(self, ended: bool = True, again: bool = False) -> None:
        """The end of the end of an epoch; `again` if the callbacks have decided before."""
        trainer, progress = self.trainer, self.trainer.progress
        if record := trainer.recorder.end_epoch():
            trainer.call_loggers.record(record)
        trainer.call_loggers.learning_rates()
        trainer.call_loggers.save()
        self.at = "decided" if ended else "ready"
        if not again:
            trainer.hooks.on_train_epoch_decision()
        if ended:
            trainer.schedulers.step(trainer.schedulers.plateau_on_epoch, progress.epoch + 1)
            progress.epoch += 1
            self.batches_before += progress.batch
            progress.batch = progress.window = 0
            self.at = "start"

    def is_done(self) -> bool:
        """True once a limit is reached, or a stop was asked for and the minimums are met."""
        progress, trainer = self.trainer.progress, self.trainer
        if self.max_steps != -1 and progress.step >= self.max_steps:
            return True
        if self.max_epochs not in (None, -1) and progress.epoch >= self.max_epochs:
            return True
        return trainer.should_stop and self.may_stop()

    def may_stop(self) -> bool:
        """True if the minimums are met."""
        progress = self.trainer.progress
        epochs = progress.epoch + (progress.batch >= self.num_batches)
        if epochs >= self.min_epochs and progress.step >= self.min_steps:
            return True
        if not self._told_minimum:
            self._told_minimum = True
            rank_zero_info(
                f"A stop was asked for at epoch {progress.epoch}, step {progress.step}; training goes on until "
                f"`min_epochs={self.min_epochs}` and `min_steps={self.min_steps}` are met."
            )
        return False

    def setup_data(self) -> None:
        """Request the loader and count its batches."""
        self.data.set_up(self.source.request(self.trainer.clock))
        self.validation.set_up(self.num_batches)

    @property
    def given(self) -> Any:
        """The loader as the user gave it; None before it was requested."""
        return self.data.given

    @property
    def num_batches(self) -> float:
        """Batches of an epoch on this rank; infinite if the loader does not know."""
        return self.data.num_batches

    @property
    def epoch_loop(self) -> Self:
        """This loop, where Lightning keeps `batch_idx` and `total_batch_idx` in one of its own."""
        return self

    @property
    def total_batch_idx(self) -> int:
        """Index of the batch over all epochs."""
        return self.batches_before + self.batch_idx

    def validate(self) -> None:
        """The validation loop, without a trace in the random numbers of training."""
        trainer, progress, optimization = self.trainer, self.trainer.progress, self.optimization
        loop = trainer.validate_loop
        self.at = "closing" if self.at == "closing" else "validation"
        self.metric_counts = metric_states.counts(trainer.module)
        trainer.validate_loop.over = False
        stage, trainer.stage = trainer.stage, Stage.VALIDATE
        if progress.window == 0:
            own = is_overridden(trainer.module, "on_validation_model_zero_grad")
            (trainer.module.on_validation_model_zero_grad if own else trainer.module.zero_grad)()
        with rng.isolated() as self.training_rng, trainer.no_grad():
            if not loop.loaders or self._reloads_validation():
                trainer.setup_validation()
            if any(loop.num_batches):
                trainer.clock.validation(loop.run)()
        self.training_rng = None
        trainer.stage = stage
        self.validation.note()
        if optimization is not None:
            optimization.refresh()

    def _reloads_validation(self) -> bool:
        every = self.trainer.reload_dataloaders_every_n_epochs
        due = every and self.trainer.progress.epoch - self._validation_loaded >= every
        if due:
            self._validation_loaded = self.trainer.progress.epoch
        return bool(due)

    def sanity_check(self) -> None:
        """A few validation batches ahead of training; their metrics are dropped, the generators put back."""
        trainer = self.trainer
        steps = trainer.num_sanity_val_steps
        if not trainer.enable_validation or not steps or self.at in ("validation", "closing"):
            return
        trainer.stage = Stage.SANITY_CHECK
        with rng.isolated(), trainer.no_grad():
            trainer.setup_validation()
            if any(trainer.validate_loop.num_batches):
                trainer.hooks.on_sanity_check_start()
                trainer.clock.validation(trainer.validate_loop.run)(float("inf") if steps == -1 else steps)
                trainer.hooks.on_sanity_check_end()
        trainer.recorder.forget()
        trainer.stage = Stage.TRAIN
