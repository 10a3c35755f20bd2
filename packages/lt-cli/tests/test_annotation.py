from enum import Enum
from typing import Any, Literal

from lt_cli.annotation import class_names, named_member, spelled


class Act(Enum):
    relu = 1
    gelu = 2


def test_what_there_is_to_choose_from_is_spelled_out():
    assert spelled(Act) == "'relu' or 'gelu'"
    assert spelled(Literal["a", 2]) == "'a' or 2"
    assert spelled(list[int]) == "list[int]"
    assert spelled(int) == "int"


def test_anything_is_no_class_to_name():
    assert list(class_names((Any, int))) == []


def test_a_value_of_an_enum_is_told_by_its_name():
    assert named_member((Act, int), 2) == "gelu"
    assert named_member((Act, int), 5) == 5
    assert named_member((int,), 2) == 2
