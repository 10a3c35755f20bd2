import pytest
import torch
from lt_callbacks import EarlyStopping, EarlyStoppingReason, stop_when_all


def checks_until_stop(stopper, values):
    return next((i for i, value in enumerate(values, 1) if stopper.update(value)), None)


def test_patience_counts_checks_in_a_row_without_improvement():
    stopper = EarlyStopping("loss", patience=2)
    assert checks_until_stop(stopper, [3.0, 2.0, 2.5, 1.0, 1.0, 1.5, 0.5]) == 6
    assert stopper.stopping_reason is EarlyStoppingReason.PATIENCE_EXHAUSTED
    assert stopper.best_score == torch.tensor(1.0)


@pytest.mark.parametrize(
    ("arguments", "values", "reason"),
    [
        ({"min_delta": 0.5, "patience": 1}, [1.0, 0.6], EarlyStoppingReason.PATIENCE_EXHAUSTED),
        ({"mode": "max", "min_delta": 0.5, "patience": 1}, [1.0, 1.4], EarlyStoppingReason.PATIENCE_EXHAUSTED),
        ({"stopping_threshold": 0.1}, [1.0, 0.05], EarlyStoppingReason.STOPPING_THRESHOLD),
        ({"divergence_threshold": 9.0}, [1.0, 10.0], EarlyStoppingReason.DIVERGENCE_THRESHOLD),
        ({}, [1.0, float("nan")], EarlyStoppingReason.NON_FINITE_METRIC),
    ],
)
def test_each_reason_stops_and_is_told(arguments, values, reason):
    stopper = EarlyStopping("loss", **arguments)
    assert checks_until_stop(stopper, values) == 2
    assert stopper.stopping_reason is reason
    assert "`loss`" in stopper.stopping_reason_message


def test_infinite_values_may_be_allowed():
    assert checks_until_stop(EarlyStopping("loss", check_finite=False), [float("inf"), 1.0]) is None


def test_training_stops_at_the_epoch_of_the_last_check(trainer_of):
    stopper = EarlyStopping("val_loss", patience=2)
    trainer = trainer_of(stopper, max_epochs=9, score=float).fit()
    assert (trainer.current_epoch, stopper.stopped_epoch) == (3, 2)


def test_the_reason_can_be_read_after_a_test(trainer_of):
    stopper = EarlyStopping("val_loss", patience=2)
    trainer_of(stopper, max_epochs=9, score=float).fit().setup("test")
    assert stopper.stopping_reason is EarlyStoppingReason.PATIENCE_EXHAUSTED


def test_each_validation_within_an_epoch_is_a_check(trainer_of):
    stopper = EarlyStopping("val_loss", patience=20)
    trainer_of(stopper, score=float, val_check_interval=0.2).fit()
    assert stopper.wait_count == 4


def test_a_value_counts_once_and_none_is_asked_for_before_validation(trainer_of):
    stopper = EarlyStopping("val_loss", patience=2, check_on_train_epoch_end=True)
    trainer = trainer_of(stopper, max_epochs=9, score=float, check_val_every_n_epoch=2).fit()
    assert (trainer.current_epoch, stopper.wait_count) == (6, 2)


def test_a_metric_of_training_is_checked_at_each_epoch(trainer_of):
    stopper = EarlyStopping("train_loss", patience=2)
    trainer = trainer_of(stopper, max_epochs=9, train_score=float, num_val_batches=[]).fit()
    assert trainer.current_epoch == 3


def test_the_ranks_agree_to_stop(trainer_of):
    trainer = trainer_of(EarlyStopping("val_loss"), max_epochs=9, agree=lambda decision: True).fit()
    assert trainer.current_epoch == 1


def test_a_missing_metric_is_an_error_unless_allowed(trainer_of):
    with pytest.raises(RuntimeError, match="Did you mean `val_loss`"):
        trainer_of(EarlyStopping("val_los")).fit()
    assert trainer_of(EarlyStopping("val_los", strict=False), max_epochs=2).fit().current_epoch == 2


@pytest.mark.parametrize("skip", ["fast_dev_run", "sanity_checking"])
def test_dry_runs_and_sanity_checks_are_no_checks(trainer_of, skip):
    stopper = EarlyStopping("val_loss", check_on_train_epoch_end=False)
    trainer_of(stopper, global_step=1, **{skip: True}).setup().validate()
    assert stopper.best_score == float("inf")


def test_a_longer_patience_continues_a_run_that_had_stopped():
    stopped = EarlyStopping("loss", patience=1)
    assert checks_until_stop(stopped, [1.0, 2.0]) == 2
    resumed = EarlyStopping("loss", patience=3)
    resumed.load_state_dict(stopped.state_dict())
    assert checks_until_stop(resumed, [2.0, 2.0]) == 2


def test_the_key_of_the_state_names_metric_and_mode():
    assert EarlyStopping("loss").state_key == "EarlyStopping{'monitor': 'loss', 'mode': 'min'}"


def test_a_metric_must_be_one_number():
    with pytest.raises(ValueError, match="has 2 elements"):
        EarlyStopping("loss").update(torch.zeros(2))


@pytest.mark.parametrize("arguments", [{"mode": "up"}, {"patience": -1}, {"min_delta": -0.1}])
def test_wrong_arguments_are_refused(arguments):
    with pytest.raises(ValueError, match="`"):
        EarlyStopping("loss", **arguments)


def test_several_stop_only_together(trainer_of):
    falling, flat = EarlyStopping("val_loss", patience=2), EarlyStopping("train_loss", patience=1)
    settings = {"max_epochs": 9, "score": lambda step: max(50, 100 - step), "train_score": lambda step: 1.0}
    assert trainer_of(EarlyStopping("train_loss", patience=1), **settings).fit().current_epoch == 2
    trainer = trainer_of(*stop_when_all(falling, flat), **settings).fit()
    assert trainer.current_epoch == 7


def test_a_vote_to_stop_survives_a_restart():
    stopper, again = EarlyStopping("loss", patience=1), EarlyStopping("loss", patience=1)
    stopper.wait_count, stopper._wants_to_stop = 1, True
    again.load_state_dict(stopper.state_dict())
    assert again._wants_to_stop
