import warnings

from lt_loggers.shown_warnings import ShownWarnings


def warn(text):
    warnings.warn(text, stacklevel=1)


def test_a_second_start_and_a_stop_out_of_order_count_nothing_twice():
    counts = {}
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        one, other = ShownWarnings(counts), ShownWarnings({})
        one.start()
        one.start()
        other.start()
        one.stop()
        one.start()
        warn("a")
        one.stop()
        other.stop()
        warn("b")
    assert [(text, count) for (text, _), count in counts.items()] == [("UserWarning: a", 1)]
    assert [count for _, count in other.counts.items()] == [1]
    assert [str(item.message) for item in shown] == ["a", "b"]


def test_a_flood_of_different_warnings_fills_no_memory():
    listener = ShownWarnings({})
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda *_: None
        listener.start()
        for number in range(200):
            warn(f"number {number}")
        listener.stop()
    assert len(listener.counts) == 50


def test_secrets_in_a_warning_are_masked_on_the_page_alone():
    listener = ShownWarnings({})
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        listener.start()
        warn("no answer for api_key=sk-CANARY")
        listener.stop()
    assert [text for text, _ in listener.counts] == ["UserWarning: no answer for api_key=***"]
    assert "CANARY" in str(shown[0].message)
