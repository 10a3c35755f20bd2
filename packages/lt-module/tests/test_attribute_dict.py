import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lt_module import AttributeDict


def test_keys_are_attributes_to_read_write_and_delete():
    hparams = AttributeDict(lr=0.1)
    hparams.width = 3
    assert (hparams.lr, hparams["width"]) == (0.1, 3)
    del hparams.lr
    assert hparams == {"width": 3}
    assert "width" in dir(hparams)


def test_a_wrong_name_is_an_error_with_the_nearest_right_one():
    hparams = AttributeDict(learning_rate=0.1)
    with pytest.raises(AttributeError, match="Did you mean `learning_rate`"):
        _ = hparams.learning_rat
    with pytest.raises(AttributeError, match="Did you mean `learning_rate`"):
        del hparams.learning_rat


def test_repr_lists_keys_sorted():
    assert repr(AttributeDict(b=1, a="x")) == "'a': 'x'\n'b': 1"


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.lists(st.booleans())))
def test_copies_and_pickles_are_equal_and_of_the_same_type(content):
    hparams = AttributeDict(content)
    for twin in (copy.copy(hparams), copy.deepcopy(hparams), pickle.loads(pickle.dumps(hparams))):
        assert twin == hparams
        assert type(twin) is AttributeDict
