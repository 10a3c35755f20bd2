import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from lt_cli.plain_yaml import dump, load

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
