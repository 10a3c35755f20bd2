from collections import namedtuple

from hypothesis import given
from hypothesis import strategies as st
from lt_data.structure import fill, leaves

Pair = namedtuple("Pair", "left right")

TREES = st.recursive(
    st.integers(),
    lambda inner: st.one_of(
        st.lists(inner), st.tuples(inner, inner), st.builds(Pair, inner, inner), st.dictionaries(st.text(), inner)
    ),
)


@given(TREES)
def test_filling_a_nesting_with_its_own_leaves_gives_it_back(tree):
    again = fill(tree, leaves(tree))
    assert again == tree
    assert type(again) is type(tree)


@given(TREES)
def test_leaves_come_in_the_order_in_which_they_are_filled(tree):
    count = len(list(leaves(tree)))
    assert list(leaves(fill(tree, iter(range(count))))) == list(range(count))
