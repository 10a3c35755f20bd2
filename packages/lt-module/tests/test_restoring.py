import math
import warnings
from argparse import Namespace
from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from pathlib import PurePosixPath

import pytest
import torch
from lt_checkpoint import save
from lt_interfaces import CheckpointError, UnsafeCheckpoint
from lt_module import LightningModule
from torch import nn


class Model(LightningModule):
    def __init__(self, width, lr=0.1):
        super().__init__()
        self.save_hyperparameters()
        self.layer = nn.Linear(2, width)


class Late(LightningModule):
    def configure_model(self):
        self.layer = nn.Linear(2, 3)
        self.seen = ["configure_model"]

    def on_load_checkpoint(self, checkpoint):
        self.seen.append("on_load_checkpoint")
        checkpoint["state_dict"] = {f"layer.{k}": v for k, v in checkpoint["state_dict"].items()}


class Wraps(LightningModule):
    def __init__(self, net, lr=0.1):
        super().__init__()
        self.save_hyperparameters(ignore="net")
        self.net = net


def saved(module, path, **more):
    state = {"pytorch-lightning_version": "2.6.6", "state_dict": module.state_dict(), **more}
    if module._hparams_name:
        state |= {"hparams_name": module._hparams_name, "hyper_parameters": module.hparams_to_save()}
    save(state, path)
    return path


def same(module, other):
    return all(torch.equal(a, b) for a, b in zip(module.parameters(), other.parameters(), strict=True))


def test_a_module_comes_back_with_hyperparameters_and_weights(tmp_path):
    model = Model(4, lr=0.5).double()
    twin = Model.load_from_checkpoint(saved(model, tmp_path / "m.ckpt").as_posix(), weights_only=False)
    assert twin.hparams == model.hparams == {"width": 4, "lr": 0.5}
    assert torch.equal(twin.layer.weight, model.layer.weight.float())
    assert twin.training


def test_keyword_arguments_replace_and_add(tmp_path):
    path = saved(Model(4), tmp_path / "m.ckpt")
    assert Model.load_from_checkpoint(path, lr=0.7).hparams == {"width": 4, "lr": 0.7}
    wraps = Wraps(nn.Linear(1, 1), lr=3)
    twin = Wraps.load_from_checkpoint(saved(wraps, tmp_path / "w.ckpt"), net=nn.Linear(1, 1))
    assert twin.hparams == {"lr": 3}
    assert same(twin, wraps)


def test_a_missing_argument_is_named(tmp_path):
    path = saved(Wraps(nn.Linear(1, 1)), tmp_path / "w.ckpt")
    with pytest.raises(TypeError, match="needs `net`"):
        Wraps.load_from_checkpoint(path)


def test_map_location_says_where_tensors_go(tmp_path):
    path = saved(Model(4), tmp_path / "m.ckpt")
    assert Model.load_from_checkpoint(path, map_location="cpu").device.type == "cpu"
    assert Model.load_from_checkpoint(path, map_location=lambda storage, where: storage).device.type == "cpu"
    with torch.device("meta"):
        assert Model.load_from_checkpoint(path, map_location="meta").device.type == "meta"


def test_tensors_of_a_device_that_is_not_here_go_to_the_cpu():
    from lt_module.restoring import _where_saved

    storage = torch.zeros(1).untyped_storage()
    assert _where_saved(storage, "cuda:97") is storage
    assert _where_saved(storage, "cpu") is storage


def test_weights_that_do_not_fit_are_listed_with_the_nearest_names(tmp_path):
    model = Model(4)
    state = {"layre.weight": model.layer.weight, "layer.bias": model.layer.bias}
    save({"state_dict": state, "hyper_parameters": {"width": 4}}, tmp_path / "m.ckpt")
    with pytest.raises(RuntimeError, match=r"`layer\.weight` is not in the file \(nearest: `layre\.weight`\)"):
        Model.load_from_checkpoint(tmp_path / "m.ckpt")
    twin = Model.load_from_checkpoint(tmp_path / "m.ckpt", strict=False)
    assert torch.equal(twin.layer.bias, model.layer.bias)


def test_shapes_that_differ_are_named_with_both(tmp_path):
    with pytest.raises(RuntimeError, match=r"`layer\.weight` has the shape \(4, 2\) in the file and \(5, 2\) in the"):
        Model.load_from_checkpoint(saved(Model(4), tmp_path / "m.ckpt"), width=5)


def test_strictness_comes_from_the_module_and_may_not_contradict_it(tmp_path):
    class Lenient(Model):
        def __init__(self, width):
            super().__init__(width)
            self.strict_loading = False
            self.extra = nn.Linear(1, 1)

    path = saved(Model(4), tmp_path / "m.ckpt")
    assert Lenient.load_from_checkpoint(path).layer.out_features == 4
    with pytest.raises(ValueError, match="`strict=True` contradicts `Lenient"):
        Lenient.load_from_checkpoint(path, strict=True)


def test_layers_are_made_before_the_load_hook_and_weights_come_last(tmp_path):
    net = nn.Linear(2, 3)
    save({"state_dict": net.state_dict()}, tmp_path / "m.ckpt")
    model = Late.load_from_checkpoint(tmp_path / "m.ckpt")
    assert model.seen == ["configure_model", "on_load_checkpoint"]
    assert same(model, net)


def test_one_configuration_object_comes_back_as_one(tmp_path):
    class Configured(LightningModule):
        def __init__(self, config):
            super().__init__()
            self.save_hyperparameters(config)
            self.layer = nn.Linear(1, config.width)

    path = saved(Configured(Namespace(width=3, lr=1)), tmp_path / "m.ckpt")
    twin = Configured.load_from_checkpoint(path, lr=2)
    assert twin.hparams == {"width": 3, "lr": 2}


def test_keys_of_older_versions_are_read(tmp_path):
    state = Model(2).state_dict()
    for key in ("hparams", "module_arguments"):
        save({"state_dict": state, key: {"width": 2, "lr": 9}}, tmp_path / "m.ckpt")
        assert Model.load_from_checkpoint(tmp_path / "m.ckpt").hparams.lr == 9


def test_a_file_of_hyperparameters_replaces_those_in_the_checkpoint(tmp_path):
    pytest.importorskip("yaml")
    path = saved(Model(4, lr=0.5), tmp_path / "m.ckpt")
    (tmp_path / "hparams.yaml").write_text("width: 4\n")
    assert Model.load_from_checkpoint(path, hparams_file=tmp_path / "hparams.yaml").hparams.lr == 0.1


def test_it_is_called_on_the_class_not_on_an_instance(tmp_path):
    model = Model(4)
    assert hasattr(model, "load_from_checkpoint")
    with pytest.raises(TypeError, match="Call it on the class"):
        model.load_from_checkpoint(tmp_path / "m.ckpt")


def test_a_file_without_weights_is_refused(tmp_path):
    save({"weight": torch.zeros(1)}, tmp_path / "m.ckpt")
    with pytest.raises(CheckpointError, match="no `state_dict`"):
        Model.load_from_checkpoint(tmp_path / "m.ckpt")


def test_a_file_that_wants_to_run_code_is_refused_whatever_weights_only_says(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save({"state_dict": {}, "hyper_parameters": {"x": Evil()}}, tmp_path / "evil.ckpt")
    with pytest.raises(UnsafeCheckpoint):
        Model.load_from_checkpoint(tmp_path / "evil.ckpt", weights_only=False)
    assert not (tmp_path / "ran").exists()


def test_hyperparameters_of_the_command_line_name_no_code(tmp_path):
    more = {"hyper_parameters": {"width": 4, "_instantiator": "os.system", "_class_path": "antigravity.X"}}
    save({"state_dict": Model(4).state_dict(), **more}, tmp_path / "m.ckpt")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Model.load_from_checkpoint(tmp_path / "m.ckpt").hparams == {"width": 4, "lr": 0.1}


class Adapted(Model):
    """Keeps its adapter only."""

    def __init__(self, width):
        super().__init__(width)
        self.strict_loading = "adapter.*"
        self.adapter = nn.Linear(1, 1)

    def state_dict(self, *args, **kwargs):
        state = super().state_dict(*args, **kwargs)
        return {name: value for name, value in state.items() if name.startswith("adapter.")}


def test_a_file_of_adapters_alone_is_loaded_into_the_whole(tmp_path):
    model = Adapted(4)
    path = saved(model, tmp_path / "m.ckpt")
    assert torch.equal(Adapted.load_from_checkpoint(path).adapter.weight, model.adapter.weight)
    save({"state_dict": {"adapter.weight": torch.ones(1, 1)}, "hyper_parameters": {"width": 4}}, path)
    with pytest.raises(RuntimeError, match=r"`adapter\.bias` is not in the file"):
        Adapted.load_from_checkpoint(path)


def test_a_part_can_be_declared_where_it_is_loaded(tmp_path):
    model = Wraps(nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1)))
    path = tmp_path / "m.ckpt"
    save({"state_dict": {k: v for k, v in model.state_dict().items() if "0" in k}}, path)
    twin = Wraps.load_from_checkpoint(path, strict="net.0.*", net=nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1)))
    assert torch.equal(twin.net[0].weight, model.net[0].weight)
    with pytest.raises(RuntimeError, match=r"`net\.1\.weight` is not in the file"):
        Wraps.load_from_checkpoint(path, strict="net.*", net=model.net)


def test_overrides_are_what_the_next_checkpoint_records(tmp_path):
    twin = Model.load_from_checkpoint(saved(Model(4, lr=0.1), tmp_path / "m.ckpt"), lr=0.7)
    assert twin.hparams_to_save() == {"width": 4, "lr": 0.7}


class Connected(LightningModule):
    def __init__(self, width, api_key, url="", options=None):
        super().__init__()
        self.save_hyperparameters()
        self.layer = nn.Linear(1, width)


def test_a_secret_is_in_no_checkpoint_and_asked_for_when_it_is_read(tmp_path):
    model = Connected(4, api_key="sk-CANARY", url="https://me:CANARY@host", options={"token": "CANARY", "n": 1})
    path = saved(model, tmp_path / "m.ckpt")
    assert model.hparams.api_key == "sk-CANARY"
    assert b"CANARY" not in path.read_bytes()
    with pytest.raises(TypeError, match=r"saved without the secret `api_key`.* Pass api_key=\.\.\. as well"):
        Connected.load_from_checkpoint(path)
    with pytest.raises(TypeError, match=r"without the secret `options\.token` in `options`.* Pass options=\.\.\."):
        Connected.load_from_checkpoint(path, api_key="new", url="")
    twin = Connected.load_from_checkpoint(path, api_key="new", url="", options=None)
    assert (twin.hparams.api_key, twin.hparams.width) == ("new", 4)


def test_a_secret_inside_one_configuration_object_is_passed_by_its_name(tmp_path):
    class Configured(LightningModule):
        def __init__(self, config):
            super().__init__()
            self.save_hyperparameters(config)

    path = saved(Configured({"width": 1, "password": "CANARY"}), tmp_path / "m.ckpt")
    with pytest.raises(TypeError, match=r"the secret `password`.* Pass password="):
        Configured.load_from_checkpoint(path)
    assert Configured.load_from_checkpoint(path, password="x").hparams == {"width": 1, "password": "x"}
    assert Configured.load_from_checkpoint(path, config={"width": 2}).hparams == {"width": 2}


def test_secrets_in_objects_of_any_kind_are_masked():
    class SecretStr:
        def get_secret_value(self):
            return "CANARY"

    @dataclass
    class Login:
        name: str = "me"
        password: str = "CANARY"

    class Keeps(LightningModule):
        def __init__(self, login, note, image_key, pad_token):
            super().__init__()
            self.save_hyperparameters()

    kept = Keeps(Login(), SecretStr(), "image", "<pad>").hparams_to_save()
    assert kept == {
        "login": {"name": "me", "password": "***"}, "note": "***", "image_key": "image", "pad_token": "<pad>"
    }  # fmt: skip


class Shade(Enum):
    DARK = "dark"


@dataclass
class Point:
    x: int = 1


Pair = namedtuple("Pair", "a b")
BECOMES = {
    "none": (None, None), "bool": (True, True), "int": (3, 3), "float": (1e-3, 1e-3), "inf": (math.inf, math.inf),
    "complex": (1j, 1j), "text": ("x", "x"), "bytes": (b"x", b"x"), "list": ([1, [2]], [1, [2]]), "tuple": ((1,), (1,)),
    "set": ({1}, {1}), "dict": ({"a": {"b": 1}}, {"a": {"b": 1}}), "path": (PurePosixPath("a/b"), "a/b"),
    "enum": (Shade.DARK, "dark"), "namespace": (Namespace(a=1), {"a": 1}), "dataclass": (Point(), {"x": 1}),
    "named tuple": (Pair(1, 2), (1, 2)), "ordered": (OrderedDict(a=1), {"a": 1}), "time": (timedelta(seconds=2), 2.0),
    "dtype": (torch.float16, torch.float16), "device": (torch.device("cpu"), torch.device("cpu")),
    "size": (torch.Size([2]), torch.Size([2])), "tensor": (torch.tensor(2.0), torch.tensor(2.0)),
}  # fmt: skip
REFUSED = {"function": math.sin, "lambda": lambda: 0, "class": Point, "module": nn.ReLU(), "generator": iter([])}


class Keeper(LightningModule):
    def __init__(self, value="default"):
        super().__init__()
        self.save_hyperparameters()
        self.layer = nn.Linear(1, 1)


@pytest.mark.parametrize("kind", BECOMES)
def test_a_hyperparameter_comes_back_as_plain_as_it_can_be(tmp_path, kind):
    value, plain = BECOMES[kind]
    twin = Keeper.load_from_checkpoint(saved(Keeper(value), tmp_path / "m.ckpt"))
    assert twin.hparams.value == plain
    assert type(twin.hparams.value) is type(plain) or kind == "ordered"


@pytest.mark.parametrize("kind", REFUSED)
def test_one_that_cannot_be_plain_is_named_when_it_is_kept_not_when_it_is_read(tmp_path, kind):
    with pytest.warns(UserWarning, match=r"`value` \(\w+\)"):
        module = Keeper(REFUSED[kind])
    assert Keeper.load_from_checkpoint(saved(module, tmp_path / "m.ckpt")).hparams.value == "default"
