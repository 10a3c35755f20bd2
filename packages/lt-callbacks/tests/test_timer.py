from datetime import timedelta

import pytest
from lt_callbacks import Timer
from lt_callbacks.wall_time import Span, seconds_in


@pytest.mark.parametrize("duration", ["01:02:03:04", timedelta(days=1, seconds=7384), {"days": 1, "seconds": 7384}])
def test_durations_have_three_spellings(duration):
    assert seconds_in(duration) == 93784


@pytest.mark.parametrize("duration", ["1:2:3", "a:b:c:d", {"years": 1}, 5])
def test_anything_else_is_refused(duration):
    with pytest.raises(ValueError, match="is no duration"):
        Timer(duration)


@pytest.mark.parametrize("interval", ["step", "epoch"])
def test_training_stops_when_the_time_is_up(trainer_of, interval):
    trainer = trainer_of(Timer("00:00:00:00", interval, verbose=False), max_epochs=9).fit()
    assert trainer.current_epoch == 1


def test_without_a_duration_time_is_only_measured(trainer_of):
    timer = Timer()
    assert trainer_of(timer, max_epochs=2).fit().current_epoch == 2
    assert 0 < timer.time_elapsed("validate") < timer.time_elapsed()
    assert timer.time_remaining() is None


def test_time_before_a_restart_counts(trainer_of):
    timer = Timer(timedelta(hours=1), verbose=False)
    timer.load_state_dict({"time_elapsed": {"train": 3600.0}})
    trainer = trainer_of(timer).setup()
    trainer.call("on_fit_start")
    assert trainer.should_stop
    assert timer.state_dict()["time_elapsed"]["train"] == 3600.0


def test_several_ranks_ask_rank_zero_ever_less_often(trainer_of):
    asked = []
    trainer = trainer_of(world_size=2)
    trainer.engine.broadcast = lambda obj, src=0: asked.append(obj) or obj
    span = Span(3600)
    assert not any(span.is_over(trainer) for _ in range(1000))
    assert len(asked) < 20


def test_several_ranks_stop_on_the_word_of_rank_zero(trainer_of):
    trainer = trainer_of(world_size=2)
    trainer.engine.broadcast = lambda obj, src=0: (True, 1)
    assert Span(3600).is_over(trainer)


@pytest.mark.parametrize("ask", ["start_time", "end_time", "time_elapsed", "time_remaining"])
def test_a_stage_that_does_not_exist_is_told_the_nearest_one(ask):
    with pytest.raises(ValueError, match="Did you mean `validate`"):
        getattr(Timer("00:00:01:00"), ask)("validat")
    assert Timer().time_elapsed("sanity_check") == 0.0
