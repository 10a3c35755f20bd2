import warnings

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
    with pytest.raises(RuntimeError, match=r"`layre\.weight` is only in the checkpoint\. Did you mean `layer\.weight`"):
        Model.load_from_checkpoint(tmp_path / "m.ckpt")
    twin = Model.load_from_checkpoint(tmp_path / "m.ckpt", strict=False)
    assert torch.equal(twin.layer.bias, model.layer.bias)


def test_shapes_that_differ_are_torchs_own_error(tmp_path):
    with pytest.raises(RuntimeError, match="size mismatch"):
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

    from argparse import Namespace

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
