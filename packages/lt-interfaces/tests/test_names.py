from hypothesis import given
from hypothesis import strategies as st
from lt_interfaces import did_you_mean, nearest

NAMES = ["max_epochs", "max_steps", "accelerator", "precision"]


def test_the_nearest_name_is_offered():
    assert nearest("max_epoch", NAMES) == "max_epochs"
    assert did_you_mean("acelerator", NAMES) == "Did you mean `accelerator`?"


def test_without_a_near_name_all_are_listed_in_order():
    sentence = "Known: `accelerator`, `max_epochs`, `max_steps`, `precision`."
    assert did_you_mean("zzz", NAMES) == sentence
    assert did_you_mean("zzz", iter(NAMES)) == sentence


def test_the_cutoff_decides_what_is_near():
    assert nearest("epochs", NAMES, cutoff=0.9) is None
    assert nearest("epochs", NAMES, cutoff=0.5) == "max_epochs"


@given(st.text(), st.lists(st.text(min_size=1), min_size=1))
def test_only_known_names_are_offered(name, known):
    assert nearest(name, known) in {None, *known}


@given(st.lists(st.text(min_size=1), min_size=1))
def test_a_known_name_is_its_own_nearest(known):
    assert nearest(known[0], known) == known[0]
