"""Names stay where they belong."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lt_checkpoint import inside


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/../../x", "/etc/x", "a\0b", "s3://bucket/x", "file:/x"])
def test_a_name_that_leads_away_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match="below its folder"):
        inside(tmp_path, name)


def test_a_plain_name_is_joined_to_the_root(tmp_path):
    assert inside(tmp_path, "run/epoch=1.ckpt") == tmp_path / "run" / "epoch=1.ckpt"


def test_a_link_out_of_the_root_or_in_a_circle_is_refused(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (root / "out").symlink_to(tmp_path)
    (root / "circle").symlink_to("circle")
    (root / "in").symlink_to(".")
    with pytest.raises(ValueError, match="through a symbolic link"):
        inside(root, "out/x")
    with pytest.raises(ValueError, match="followed to its end"):
        inside(root, "circle/x")
    assert inside(root, "in/x") == root / "in" / "x"


@given(st.text(st.sampled_from("ab./\\~\0\n"), max_size=12))
def test_no_name_leaves_the_root(name):
    root = "/some/root"
    try:
        path = inside(root, name)
    except ValueError:
        return
    assert os.path.realpath(path).startswith(root + "/")
