import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lt_module.hparams_file import read_hparams_file

pytest.importorskip("yaml")

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_yaml_brings_plain_values_and_tuples(tmp_path):
    path = write(tmp_path / "h.yaml", "lr: 1e-3\nsizes: !!python/tuple [1, 2]\nname: x\nn: 7\n")
    assert read_hparams_file(path) == {"lr": 0.001, "sizes": (1, 2), "name": "x", "n": 7}


@given(st.dictionaries(st.text(), values, max_size=4))
def test_json_is_read_as_it_was_written(tmp_path_factory, content):
    path = write(tmp_path_factory.mktemp("h") / "h.json", json.dumps(content))
    assert read_hparams_file(path) == content


def test_csv_has_keys_and_values(tmp_path):
    path = write(tmp_path / "h.csv", 'key,value\nlr,0.1\nname,adam\nsizes,"[1, 2]"\n')
    assert read_hparams_file(path) == {"lr": 0.1, "name": "adam", "sizes": [1, 2]}


def test_an_empty_file_has_no_hyperparameters(tmp_path):
    assert read_hparams_file(write(tmp_path / "h.yaml", "")) == {}


BOMB = "a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 10)}]\n" for i in range(8)
)


@pytest.mark.parametrize(
    "text",
    [
        "x: !!python/object/apply:os.system ['true']",
        "x: !!python/name:os.system",
        "x: !!python/module:os",
        "- 1\n- 2",
        "x: [",
        "x: " + "[" * 2000 + "]" * 2000,
        "x: " + "[" * 50 + "]" * 50,
        "a: &a [*a]",
        BOMB,
        "x: '" + "y" * 2_000_000 + "'",
    ],
)
def test_what_is_not_a_small_set_of_plain_values_is_refused(tmp_path, text):
    with pytest.raises(ValueError, match="hparams_file"):
        read_hparams_file(write(tmp_path / "h.yaml", text))


def test_other_kinds_of_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"\.yaml"):
        read_hparams_file(tmp_path / "h.pkl")
