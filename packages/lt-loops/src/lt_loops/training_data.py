"""The batches of each training epoch: asked for, shared out, counted, and continued from where a checkpoint left."""

from collections.abc import Iterator
from typing import Any

from lt_interfaces import MisconfigurationException, rank_zero_warn

from lt_loops import rng
from lt_loops.feed import Feed
from lt_loops.regrouping import Regrouping, set_order_seeds
from lt_loops.rollback import Place
from lt_loops.sources import batches, is_collection, is_combined, limited, set_epoch
from lt_loops.validation_schedule import ValidationSchedule


class TrainingData:
    """The training loader of a run and its position."""

    def __init__(self, trainer: Any, schedule: ValidationSchedule) -> None:
        self.trainer, self.schedule = trainer, schedule
        self.given: Any = None
        """As the user gave it."""
        self.loader: Any = None
        """As this rank uses it."""
        self.num_batches: float = float("inf")
        self.feed = Feed((), 0)
        self.left_out: set[Place] = set()
        self.epoch_rng: dict[str, Any] | None = None
        """The generators as they were when the epoch began."""
        self.order_seeds: list[int | None] = []
        self.regrouping: Regrouping | None = None
        """In an epoch that another number of processes began."""
        self.is_regrouped_now = False
        self.regrouped_from = 0
        """The batch of that epoch with which this number of processes began."""
        self._loaded_epoch = -1
        self._overfit: list[Any] | None = None

    def is_outdated(self) -> bool:
        """True if the loader is to be requested again for this epoch."""
        every = self.trainer.reload_dataloaders_every_n_epochs
        return bool(every and self.trainer.progress.epoch - self._loaded_epoch >= every)

    def set_up(self, given: Any) -> None:
        """Share out a loader as the user gives it, combine several, count the batches."""
        trainer, self.given = self.trainer, given
        self._loaded_epoch = trainer.progress.epoch - trainer.progress.epoch % max(
            trainer.reload_dataloaders_every_n_epochs, 1
        )
        self.loader = loader = self._for_overfitting(self._dealt(given))
        set_order_seeds(loader, self.order_seeds)
        self.num_batches, most = limited("limit_train_batches", loader, trainer.limit_train_batches)
        self.feed = Feed(loader, most)
        if self.num_batches == 0 and trainer.limit_train_batches:
            raise MisconfigurationException(
                "The training loader has no batches. Check that its dataset is not empty and that `drop_last=True` "
                "does not drop the only batch."
            )

    def _dealt(self, loader: Any) -> Any:
        """This rank's part of a loader or of each of several, which are combined into one."""
        if not (is_collection(loader) or is_combined(loader)):
            return self._sharded(loader)
        if not is_combined(loader):
            loader = self.trainer.combined(loader, "max_size_cycle")
        if loader.mode == "sequential":
            raise MisconfigurationException(
                "Training got a `CombinedLoader` in mode 'sequential', which gives one loader after another. "
                "Use 'min_size', 'max_size' or 'max_size_cycle'."
            )
        loader.flattened = [self._sharded(x) for x in loader.flattened]
        return loader

    def _sharded(self, loader: Any) -> Any:
        return self.trainer.engine.setup_dataloaders(
            loader, use_distributed_sampler=self.trainer.use_distributed_sampler, move_to_device=False
        )

    def _for_overfitting(self, loader: Any) -> Any:
        """The same few batches for all epochs, where `overfit_batches` asks for them."""
        share = self.trainer.overfit_batches
        if not share:
            return loader
        if self._overfit is None:
            self._overfit = list(batches(loader, limited("overfit_batches", loader, share)[1]))
        return self._overfit

    def begin_epoch(self, resumed: dict[str, Any] | None) -> Iterator[Any]:
        """An iterator over what is left of the epoch's data; `resumed` is what a checkpoint says of this rank."""
        trainer, epoch = self.trainer, self.trainer.progress.epoch
        set_epoch(self.loader, epoch)
        data = self._regrouped(resumed) if resumed is not None and self.regrouping and trainer.progress.batch else None
        if data is None:
            self.regrouping = None
            data = self._fed(resumed)
        left_out = {batch for one, batch in self.left_out if one == epoch}
        if not left_out:
            return data
        return (None if i in left_out else batch for i, batch in enumerate(data, trainer.progress.batch))

    def _fed(self, resumed: dict[str, Any] | None) -> Iterator[Any]:
        """What the feed still gives, the generators drawing for it as they did when the epoch began."""
        feed, position = self.feed, self.trainer.progress.batch
        now = rng.capture() if resumed is None else resumed["rng"]
        stateful = resumed is not None and feed.load_state_dict(resumed["feed"])
        if not position or self.epoch_rng is None:
            every = self.trainer.reload_dataloaders_every_n_epochs
            is_new = not position and every and self.trainer.progress.epoch % every == 0  # as in a run without a stop
            rng.restore(now, () if resumed is None or is_new else feed.generators)
            self.epoch_rng = rng.capture(feed.generators)
            return feed.start(position, stateful)
        rng.restore(self.epoch_rng, () if stateful else feed.generators)
        data = feed.start(position, stateful)
        rng.restore(now)
        return data

    def _regrouped(self, resumed: dict[str, Any]) -> Iterator[Any] | None:
        """What is left of an epoch that another number of processes began; None if that cannot be told."""
        assert self.regrouping is not None  # noqa: S101
        rng.restore(resumed["rng"])
        self.epoch_rng = resumed["epoch_rng"]
        rest = self.regrouping.rest(self.given)
        if rest is None:
            rank_zero_warn(
                "The order of this loader cannot be told: some samples of the epoch may repeat or be missed."
            )
            return None
        progress, loader = self.trainer.progress, self._sharded(rest)
        if self.is_regrouped_now:
            self.is_regrouped_now = False
            validated = self.schedule.at is not None
            self.regrouped_from = progress.batch = max(0, int(self.num_batches) - len(loader))
            self.schedule.at = (progress.epoch, progress.batch) if validated else None
        return Feed(loader, float("inf")).start(progress.batch - self.regrouped_from)
