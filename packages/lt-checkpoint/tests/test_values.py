"""What becomes of values on their way into a checkpoint."""

import io
from argparse import Namespace
from collections import ChainMap, Counter, OrderedDict, UserDict, defaultdict, deque, namedtuple
from dataclasses import dataclass
from datetime import date, timedelta
from enum import Enum, IntEnum, StrEnum
from pathlib import Path, PurePosixPath
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lt_checkpoint import load, plain, save

Pair = namedtuple("Pair", "x y")


class Color(Enum):
    RED = "red"


class Level(IntEnum):
    LOW = 1


class Word(StrEnum):
    A = "a"


@dataclass(slots=True)
class Config:
    size: int
    where: Path


class Text(str):
    pass


CHANGES = [
    (Path("a/b"), "a/b"),
    (PurePosixPath("a"), "a"),
    (Color.RED, "red"),
    (Level.LOW, 1),
    (Word.A, "a"),
    (Text("a"), "a"),
    (timedelta(minutes=2), 120.0),
    (Namespace(a=Path("x")), {"a": "x"}),
    (SimpleNamespace(a=1), {"a": 1}),
    (Config(1, Path("x")), {"size": 1, "where": "x"}),
    (Pair(1, Path("x")), (1, "x")),
    (UserDict(a=1), {"a": 1}),
    (ChainMap({"a": 1}), {"a": 1}),
    (defaultdict(list, a=[1]), {"a": [1]}),
    (Counter("aab"), Counter(a=2, b=1)),
    (OrderedDict(b=1, a=Color.RED), OrderedDict(b=1, a="red")),
    (deque([1]), [1]),
    (range(3), [0, 1, 2]),
    (frozenset({Color.RED}), {"red"}),
    (bytearray(b"ab"), b"ab"),
    ({Color.RED: {Path("k"): Level.LOW}}, {"red": {"k": 1}}),
]
KEPT = [None, True, 3, -(2**2038), 0.5, float("inf"), 1 + 2j, "\ud800", b"ab", [1, (2,)], {1}, {"a": {1.5: ()}}]
TORCH = [torch.float32, torch.uint16, torch.float8_e4m3fn, torch.device("cpu"), torch.Size([1, 2])]
REFUSED = [
    len,
    int,
    torch,
    torch.nn.Linear(1, 1),
    date(2020, 1, 1),
    object(),
    b"",
    2**2039,
    Color,
    iter([1]),
    (1).__add__,
]


@pytest.mark.parametrize(("value", "becomes"), CHANGES)
def test_a_value_takes_its_plain_form(value, becomes):
    result = plain(value)
    assert result == becomes
    assert type(result) is type(becomes)


@pytest.mark.parametrize("value", KEPT + TORCH + [becomes for _, becomes in CHANGES])
def test_plain_values_stay_and_come_back_from_a_file(tmp_path, value):
    save({"value": value}, tmp_path / "x.ckpt")
    result = load(tmp_path / "x.ckpt")["value"]
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize("value", REFUSED)
def test_what_has_no_plain_form_is_named_with_its_key_and_type(value):
    with pytest.raises(TypeError, match=r"`hparams\['a'\]\[0\]`, a `.*`, .*\. Leave it out, or"):
        plain({"a": [value]}, where="hparams")


def test_the_message_of_a_refused_value_reads_well():
    with pytest.raises(TypeError) as caught:
        plain({"loss": torch.nn.MSELoss()}, where="hyper_parameters")
    assert str(caught.value) == (
        "`hyper_parameters['loss']`, a `torch.nn.modules.loss.MSELoss`, cannot be kept in a checkpoint. "
        "Leave it out, or keep numbers, strings, containers of them or tensors in its place."
    )


def test_keys_and_members_that_would_become_one_are_refused():
    with pytest.raises(TypeError, match="the same plain key"):
        plain({"a": 1, Path("a"): 2})
    with pytest.raises(TypeError, match="members that become the same"):
        plain({"a", Path("a")})
    with pytest.raises(TypeError, match="without a plain hashable form"):
        plain({frozenset({1}): 2})


def test_circles_and_depth_are_refused_and_sharing_is_kept():
    circle: dict[str, object] = {}
    circle["again"] = [circle, circle]
    with pytest.raises(TypeError, match=r"`x\['again'\]\[0\]`, a `dict`, contains itself"):
        plain(circle, where="x")
    deep: list[object] = []
    for _ in range(500):
        deep = [deep]
    with pytest.raises(TypeError, match="nested deeper than 100 levels"):
        plain(deep)
    shared = [Path("x")]
    for _ in range(60):
        shared = [shared, shared]
    result = plain(shared)
    assert result[0] is result[1]


def test_tensors_of_any_class_become_detached_tensors_on_the_same_memory():
    class Mine(torch.Tensor):
        pass

    parameter = torch.nn.Parameter(torch.ones(2))
    parameter.note = lambda: None
    for tensor in (parameter, torch.ones(2).as_subclass(Mine), torch.nn.Buffer(torch.ones(2)), parameter * 2):
        result = plain(tensor)
        assert type(result) is torch.Tensor
        assert result.data_ptr() == tensor.data_ptr()
        assert not result.requires_grad


TENSORS = [
    torch.ones(3).to(torch.uint16),
    torch.ones(3).to(torch.float8_e4m3fn),
    torch.tensor([1 + 2j]).conj(),
    torch.eye(3).to_sparse(),
    torch.arange(6).reshape(2, 3).T[1:],
    torch.ones(1).expand(4),
    torch.zeros(0),
    torch.tensor(True),
    torch.tensor(1.5, dtype=torch.bfloat16),
]


@pytest.mark.parametrize("tensor", TENSORS, ids=lambda t: f"{t.dtype} {t.layout} {tuple(t.shape)}")
def test_tensors_of_every_kind_come_back(tmp_path, tensor):
    save({"t": tensor}, tmp_path / "x.ckpt")
    result = load(tmp_path / "x.ckpt")["t"]
    assert result.dtype == tensor.dtype
    assert result.stride() == tensor.stride() if tensor.layout is torch.strided else result.is_sparse
    assert torch.equal(result.to_dense().to(torch.complex64), tensor.to_dense().to(torch.complex64))


class Wrapped(torch.Tensor):
    def __tensor_flatten__(self):
        return [], None


def test_tensors_without_data_of_their_own_are_refused_with_the_way_out():
    with pytest.raises(TypeError, match="run the module once"):
        plain(torch.nn.LazyLinear(1).weight)
    with pytest.raises(TypeError, match="a meta tensor"):
        plain(torch.empty(2, device="meta"))
    with pytest.raises(TypeError, match=r"gather it first, e\.g\. with `full_tensor\(\)`"):
        plain(torch.ones(1).as_subclass(Wrapped))


def test_numpy_values_become_numbers_strings_and_tensors(tmp_path):
    numpy = pytest.importorskip("numpy")
    value = {"f": numpy.float64(0.5), "i": numpy.int8(3), "s": numpy.str_("a"), "b": numpy.bool_(True)}
    result = plain(value)
    assert [(type(v), v) for v in result.values()] == [(float, 0.5), (int, 3), (str, "a"), (bool, True)]
    array = numpy.arange(6, dtype=">i4").reshape(2, 3)[:, ::-1]
    assert torch.equal(plain(array), torch.tensor([[2, 1, 0], [5, 4, 3]], dtype=torch.int32))
    assert plain(numpy.array([["a", "b"]])) == [["a", "b"]]
    assert plain(numpy.array([Path("x"), None], dtype=object)) == ["x", None]
    save({"rng": numpy.random.RandomState(0).get_state()}, tmp_path / "x.ckpt")
    assert load(tmp_path / "x.ckpt")["rng"][1].dtype is torch.uint32
    for refused in (numpy.datetime64("2020-01-01"), numpy.longdouble(1), numpy.ones(1, dtype=numpy.longdouble)):
        with pytest.raises(TypeError):
            plain(refused)


ATOMS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5) | st.binary(min_size=1)
)
ODD = st.sampled_from([Path("p"), Color.RED, Level.LOW, Text("t"), timedelta(1), Pair(1, 2), Config(1, Path("x"))])
KEYS = st.text(max_size=3) | st.integers() | st.tuples(st.integers(), st.text(max_size=2))
VALUES = st.recursive(
    ATOMS | ODD,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(KEYS, inner, max_size=3)
        | st.tuples(inner, inner)
        | st.builds(Namespace, a=inner)
        | st.frozensets(ATOMS, max_size=3)
    ),
    max_leaves=12,
)


@given(VALUES)
def test_whatever_becomes_plain_is_stable_and_the_safe_loader_of_torch_reads_it(value):
    result = plain(value)
    assert plain(result) == result
    buffer = io.BytesIO()
    torch.save({"v": result}, buffer)
    buffer.seek(0)
    assert torch.load(buffer, weights_only=True)["v"] == result


@given(st.recursive(st.builds(object) | ODD | ATOMS, lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner)))
def test_any_value_is_either_made_plain_or_refused_by_type_error(value):
    if "object object at" in repr(value):
        with pytest.raises(TypeError, match="Leave it out"):
            plain(value)
    else:
        assert plain(plain(value)) == plain(value)
