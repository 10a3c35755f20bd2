from collections import defaultdict, namedtuple
from dataclasses import dataclass

import torch
from hypothesis import given
from hypothesis import strategies as st
from lt_accel.transfer import cast_floats, to_device
from torch.nn.utils.rnn import pack_sequence

META = torch.device("meta")
CPU = torch.device("cpu")
Pair = namedtuple("Pair", "x y")


@dataclass(frozen=True)
class Batch:
    x: torch.Tensor
    name: str


class Movable:
    def to(self, device):
        return f"moved to {device}"


leaves = st.one_of(st.integers(), st.text(), st.none(), st.builds(torch.ones, st.just(2)))
nested = st.recursive(leaves, lambda x: st.one_of(st.lists(x), st.tuples(x, x), st.dictionaries(st.text(), x)))


@given(nested)
def test_what_need_not_move_is_the_very_same_object(data):
    assert to_device(data, CPU) is data


@given(nested)
def test_everything_moves_in_any_nesting(data):
    moved = to_device(data, META)
    assert all(t.device == META for t in torch.utils._pytree.tree_leaves(moved) if isinstance(t, torch.Tensor))
    assert torch.utils._pytree.tree_structure(moved) == torch.utils._pytree.tree_structure(data)


def test_named_tuples_dataclasses_and_mappings_keep_their_type():
    x = torch.ones(1)
    assert to_device(Pair(x, 1), META).x.device == META
    batch = Batch(x, "a")
    moved = to_device(batch, META)
    assert (moved.x.device, moved.name, batch.x.device) == (META, "a", CPU)
    default = defaultdict(list, a=x)
    assert to_device(default, META).default_factory is list
    assert to_device(batch, CPU) is batch
    assert to_device(default, CPU) is default


def test_objects_with_a_to_method_move_themselves():
    assert to_device([Movable()], META) == ["moved to meta"]
    assert to_device(pack_sequence([torch.ones(2)]), META).data.device == META


def test_only_floats_are_cast():
    data = {"x": torch.ones(1), "n": torch.ones(1, dtype=torch.long), "o": Movable()}
    cast = cast_floats(data, torch.bfloat16)
    assert (cast["x"].dtype, cast["n"] is data["n"], cast["o"] is data["o"]) == (torch.bfloat16, True, True)
