import pytest
from lt_cli.links import circle, refusal


@pytest.mark.parametrize(
    ("links", "sources", "target", "way"),
    [
        ({}, ["a"], "b", None),
        ({}, ["a"], "a", "`a` -> `a`"),
        ({"b": ["a"]}, ["b"], "a", "`a` -> `b` -> `a`"),
        ({"b": ["a"], "c": ["x", "b"]}, ["y", "c"], "a", "`a` -> `b` -> `c` -> `a`"),
        ({"b": ["a"], "c": ["b"]}, ["a"], "d", None),
    ],
)
def test_a_way_back_is_a_circle(links, sources, target, way):
    found = circle(sources, target, links)
    assert (found is None) if way is None else (way in found)


def test_what_the_library_says_otherwise_is_passed_on():
    assert refusal("It is Sunday.", ["a", "b"], "c", {}, []) == (
        "`a` and `b` cannot be linked to `c`: It is Sunday. Leave the link out."
    )
