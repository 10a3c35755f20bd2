"""When validation runs, as far as a callback needs to know to act on fresh metrics."""

from lt_interfaces import Trainer


def has_validation(trainer: Trainer) -> bool:
    """False if this run never validates; True while that is not known yet."""
    every = trainer.check_val_every_n_epoch
    waits = every is not None and (trainer.current_epoch + 1) % every != 0
    return any(trainer.num_val_batches) or waits


def validates_at_epoch_end_only(trainer: Trainer) -> bool:
    """True if validation runs once per training epoch, after its last batch."""
    interval = trainer.val_check_interval
    return isinstance(interval, float) and interval == 1.0 and trainer.check_val_every_n_epoch == 1


def validation_follows(trainer: Trainer, batch_idx: int) -> bool:
    """True if validation is about to run after this training batch; one that is due by time is not foreseen."""
    every = trainer.check_val_every_n_epoch
    if not any(trainer.num_val_batches) or (every is not None and (trainer.current_epoch + 1) % every):
        return False
    interval, batches = trainer.val_check_interval, trainer.num_training_batches
    if isinstance(interval, float):
        if interval == 1.0:
            return trainer.is_last_batch
        interval = max(1, int(batches * interval))
    if not isinstance(interval, int):
        return False
    before = trainer.current_epoch * int(batches) if every is None and batches != float("inf") else 0
    return (before + batch_idx + 1) % interval == 0
