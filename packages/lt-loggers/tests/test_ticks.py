import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from lt_loggers.report.ticks import linear_ticks, log_texts, log_ticks, number_text, tick_texts, whole_ticks

finite = st.floats(-1e300, 1e300)


@pytest.mark.parametrize(
    ("low", "high", "texts"),
    [
        (0.83, 0.99, ["0.80", "0.85", "0.90", "0.95", "1.00"]),
        (0.0, 1.1, ["0", "0.5", "1.0", "1.5"]),
        (1.13e6, 1.27e6, ["1.10M", "1.15M", "1.20M", "1.25M", "1.30M"]),
        (1e-5, 3e-4, ["0", "1e-4", "2e-4", "3e-4"]),
        (0.002, 0.002, ["0", "0.001", "0.002", "0.003"]),
        (1e9, 1e9 + 3, ["1,000,000,000", "1,000,000,001", "1,000,000,002", "1,000,000,003"]),
        (0.0, 0.0, ["0", "0.25", "0.50", "0.75", "1.00"]),
    ],
)
def test_ticks_are_round_and_told_apart(low, high, texts):
    assert tick_texts(linear_ticks(low, high)) == texts


@given(finite, finite)
def test_linear_ticks_enclose_any_range_and_are_few(a, b):
    low, high = sorted((a, b))
    ticks = linear_ticks(low, high)
    slack = 1e-6 * (ticks[-1] - ticks[0])
    assert ticks[0] - slack <= low
    assert high <= ticks[-1] + slack
    assert 2 <= len(ticks) <= 7
    assert len(tick_texts(ticks)) == len(ticks)


@given(st.floats(1e-290, 1e290), st.floats(1e-290, 1e290))
def test_logarithmic_ticks_lie_within_the_range_and_are_few(a, b):
    low, high = sorted((a, b))
    assume(high > 10 * low)
    ticks = log_ticks(low, high)
    assert 2 <= len(ticks) <= 9
    assert all(low <= tick <= high for tick in ticks)
    assert len(set(log_texts(ticks))) == len(ticks)


@given(st.integers(0, 2**50), st.integers(0, 2**50))
def test_whole_ticks_are_distinct_whole_numbers_within_the_range(a, b):
    low, high = sorted((a, b))
    ticks = whole_ticks(low, high)
    assert len(set(ticks)) == len(ticks) <= 10
    assert all(low <= tick <= high for tick in ticks)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0141, "0.0141"),
        (1.0, "1"),
        (1234567.0, "1,234,567"),
        (1.23456e-7, "1.235e-7"),
        (95470.4, "95,470"),
        (float("nan"), "nan"),
    ],
)
def test_numbers_have_four_digits(value, text):
    assert number_text(value) == text
