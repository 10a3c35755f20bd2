import math
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from lt_loggers.report.curve import MAX_BUCKETS, Curve


def curve_of(values):
    curve = Curve()
    for step, value in enumerate(values):
        curve.add(step, value)
    return curve


def test_a_short_curve_is_drawn_as_it_is():
    columns = curve_of([3.0, 1.0, 2.0]).columns(240)
    assert [(c.step, c.mean) for c in columns] == [(0, 3.0), (1, 1.0), (2, 2.0)]


def test_memory_and_drawing_stay_small_while_spikes_best_and_last_stay_exact():
    curve = curve_of(100.0 if step == 54_321 else math.sin(step) for step in range(100_000))
    assert len(curve._buckets) <= MAX_BUCKETS
    columns = curve.columns(100)
    assert 40 < len(columns) <= 100
    assert curve.greatest == (54_321, 100.0)
    assert max(c.high for c in columns) == 100.0
    assert curve.last == (99_999, math.sin(99_999))
    assert curve.count == 100_000


def test_thinning_keeps_the_resolution_even_over_the_run():
    steps = [c.step for c in curve_of(0.5 for _ in range(50_000)).columns(1000)][:-1]
    gaps = {b - a for a, b in pairwise(steps)}
    assert max(gaps) <= 2 * min(gaps)


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=60), st.integers(1, 20))
def test_columns_hold_every_finite_value_between_their_extremes(values, at_most):
    curve = curve_of(values)
    finite = [value for value in values if abs(value) < 1e300]
    columns = curve.columns(at_most)
    assert len(columns) <= at_most
    assert bool(columns) == bool(finite)
    if finite:
        assert (min(c.low for c in columns), max(c.high for c in columns)) == (min(finite), max(finite))
        assert (curve.least.value, curve.greatest.value) == (min(finite), max(finite))


def test_the_first_value_that_is_not_finite_is_remembered():
    curve = curve_of([1.0, math.inf, math.nan, 2.0])
    assert curve.first_not_finite == (1, math.inf)
    assert [c.mean for c in curve.columns(10)] == [1.0, 2.0]


def test_what_was_before_a_step_is_a_curve_of_its_own():
    before = curve_of([5.0, 1.0, 4.0, 0.5]).before(3)
    assert (before.last, before.least, before.greatest, before.count) == ((2, 4.0), (1, 1.0), (0, 5.0), 3)
