import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from lt_cli.plain_yaml import Refused, dump, load

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.sampled_from(["1e3", "010", "true", "1:30", "null", "~", "<<"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(min_size=1), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize("text", ["10:12:00:00", "1:30", "no", "on", "2024-01-01", "0,2", "1_000", "16-mixed"])
def test_text_stays_text(text):
    assert load(text) == text


@pytest.mark.parametrize(
    ("text", "value"), [("1e-3", 0.001), ("010", 10), ("1.0", 1.0), ("1", 1), ("null", None), ("true", True)]
)
def test_numbers_and_words_are_values(text, value):
    assert (type(load(text)), load(text)) == (type(value), value)


@given(VALUES)
def test_a_dump_loads_as_the_value(value):
    assert load(dump(value)) == value


def test_a_tag_that_names_code_is_an_error():
    with pytest.raises(yaml.YAMLError):
        load("!!python/object/apply:os.getcwd []")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\na: 2", "has the key `a` a second time"),
        ("{a: {b: 1, b: 1}}", "has the key `b` a second time"),
        ("[" * 40 + "]" * 40, "nested more than 32 levels"),
        ("[" * 9000, "nested more than 32 levels"),
        ("&a [*a]", "nested more than 32 levels"),
        ("a: " + "9" * 5000, "too many digits"),
        (
            "\n".join(["a0: &a0 [x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9))]),
            "expands",
        ),
    ],
)
def test_what_nobody_writes_by_hand_is_refused(text, said):
    with pytest.raises(Refused, match=said):
        load(text)


def test_a_merged_key_may_be_given_anew():
    assert load("a: &a {x: 1, y: 2}\nb:\n  <<: *a\n  x: 3")["b"] == {"x": 3, "y": 2}


@given(st.text())
def test_any_text_is_a_value_or_a_yaml_error(text):
    try:
        value = load(text)
    except yaml.YAMLError:
        return
    assert load(dump(value)) == value or value != value  # NaN is not itself


@pytest.mark.parametrize("text", ["yes", "no", "on", "10:30:00", "2026-01-31", "1_000", "0o17", "1e-3", "null", "="])
def test_text_is_quoted_where_any_reader_would_take_it_for_something_else(text):
    assert yaml.safe_load(dump({"key": text})) == {"key": text} == load(dump({"key": text}))
