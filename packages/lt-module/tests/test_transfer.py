from collections import OrderedDict, defaultdict, namedtuple
from dataclasses import dataclass

import torch
from lt_module.transfer import moved

META = torch.device("meta")
Pair = namedtuple("Pair", ["x", "y"])


@dataclass(frozen=True)
class Sample:
    image: torch.Tensor
    name: str


def test_tensors_move_in_every_container_and_the_containers_keep_their_type():
    t = torch.zeros(2)
    grouped = defaultdict(list, a=[t])
    batch = [t, (t, 1), {"k": t}, OrderedDict(k=t), Pair(t, "y"), Sample(t, "s"), grouped]
    out = moved(batch, META)
    assert [type(part) for part in out[1:]] == [type(part) for part in batch[1:]]
    found = [out[0], out[1][0], out[2]["k"], out[3]["k"], out[4].x, out[5].image, out[6]["a"][0]]
    assert all(tensor.device == META for tensor in found)
    assert (out[4].y, out[5].name, out[6].default_factory) == ("y", "s", list)


def test_the_original_batch_is_left_as_it_was():
    batch = {"x": torch.zeros(1), "more": [torch.zeros(1)]}
    moved(batch, META)
    assert batch["x"].device.type == batch["more"][0].device.type == "cpu"


def test_whatever_has_a_to_moves_itself_and_other_values_are_kept():
    class Graph:
        def to(self, device):
            return f"graph on {device}"

    assert moved([Graph(), "text", None, 3], META) == ["graph on meta", "text", None, 3]
