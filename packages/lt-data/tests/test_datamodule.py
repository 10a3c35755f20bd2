import pickle
from types import SimpleNamespace

import lt_checkpoint
import pytest
import torch
from lt_data import LightningDataModule
from lt_interfaces import Stateful, is_overridden
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

LOADERS = ["train_dataloader", "val_dataloader", "test_dataloader", "predict_dataloader"]
TRANSFER = ["on_before_batch_transfer", "transfer_batch_to_device", "on_after_batch_transfer"]
HOOKS = [*LOADERS, *TRANSFER, "prepare_data", "setup", "teardown", "on_exception", "state_dict", "load_state_dict"]


class Numbers(LightningDataModule):
    def __init__(self, size: int = 10, batch_size: int = 2):
        super().__init__()
        self.save_hyperparameters()
        self.seen = 0

    def setup(self, stage):
        self.data = TensorDataset(torch.arange(self.hparams.size))

    def train_dataloader(self):
        return DataLoader(self.data, self.hparams.batch_size)

    def val_dataloader(self):
        return {"a": self.train_dataloader(), "b": range(3)}

    def state_dict(self):
        return {"seen": self.seen}

    def load_state_dict(self, state_dict):
        self.seen = state_dict["seen"]


class Stream(IterableDataset):
    def __iter__(self):
        return iter(range(3))


def saved(tmp_path, data, **more):
    content = {"datamodule_hyper_parameters": data.hparams_to_save(), "datamodule_hparams_name": data._hparams_name}
    path = tmp_path / "a.ckpt"
    lt_checkpoint.save({**content, **more}, path)
    return path


def test_no_hook_counts_as_overridden_until_it_is():
    assert not any(is_overridden(LightningDataModule(), name) for name in HOOKS)
    assert is_overridden(Numbers(), "setup")
    assert isinstance(LightningDataModule(), Stateful)


@pytest.mark.parametrize("name", LOADERS)
def test_a_missing_loader_says_what_to_define(name):
    with pytest.raises(NotImplementedError, match=f"`LightningDataModule` has no `{name}`"):
        getattr(LightningDataModule(), name)()


def test_the_default_transfer_moves_tensors_in_any_nesting():
    data, batch = LightningDataModule(), {"x": [torch.zeros(1)], "name": "a"}
    moved = data.transfer_batch_to_device(batch, torch.device("meta"), 0)
    assert moved["x"][0].device.type == "meta"
    assert moved["name"] == "a"
    assert data.on_before_batch_transfer(batch, 0) is data.on_after_batch_transfer(batch, 0) is batch


def test_the_trainer_is_none_until_attached_and_is_not_pickled():
    data = Numbers(size=4)
    assert data.trainer is None
    data.trainer = SimpleNamespace(lock=lambda: None)
    again = pickle.loads(pickle.dumps(data))
    assert again.trainer is None
    assert again.hparams.size == 4


def test_hyperparameters_and_state_come_back_from_a_checkpoint(tmp_path):
    path = saved(tmp_path, Numbers(size=7), Numbers={"seen": 3})
    data = Numbers.load_from_checkpoint(path)
    assert (data.hparams.size, data.seen) == (7, 3)


def test_arguments_and_a_file_win_over_saved_hyperparameters(tmp_path):
    path, table = saved(tmp_path, Numbers(size=7)), tmp_path / "hparams.csv"
    table.write_text("key,value\nsize,5\nbatch_size,4\n")
    assert Numbers.load_from_checkpoint(path, size=8).hparams.size == 8
    data = Numbers.load_from_checkpoint(path, hparams_file=table, size=8)
    assert data.hparams == {"size": 8, "batch_size": 4}


def test_a_checkpoint_without_a_data_module_gives_the_defaults(tmp_path):
    lt_checkpoint.save({"state_dict": {}}, tmp_path / "a.ckpt")
    assert Numbers.load_from_checkpoint(tmp_path / "a.ckpt").hparams.size == 10


def test_loading_is_refused_on_an_instance(tmp_path):
    with pytest.raises(TypeError, match="Call it on the class"):
        Numbers().load_from_checkpoint(saved(tmp_path, Numbers()))


def test_printing_lists_the_sizes_of_what_is_set_up():
    data = Numbers(size=6)
    assert "{train_dataloader: not yet (AttributeError)}" in str(data)
    data.setup("fit")
    assert str(data).splitlines() == [
        "{train_dataloader: size=6}",
        "{val_dataloader: 1. size=6 ; 2. size=3}",
        "{test_dataloader: None}",
        "{predict_dataloader: None}",
    ]


def test_from_datasets_makes_loaders_for_what_is_given():
    data = LightningDataModule.from_datasets(range(10), [range(4), range(6)], batch_size=2)
    assert [is_overridden(data, name) for name in LOADERS] == [True, True, False, False]
    assert [len(loader) for loader in data.val_dataloader()] == [2, 3]
    assert str(data).startswith("{train_dataloader: size=10}")


def test_from_datasets_shuffles_training_data_only():
    torch.manual_seed(0)
    data = LightningDataModule.from_datasets(range(10), range(10), batch_size=10)
    (train,), (val,) = data.train_dataloader(), data.val_dataloader()
    assert sorted(train.tolist()) == val.tolist() != train.tolist()
    stream = LightningDataModule.from_datasets(Stream(), batch_size=3)
    assert [batch.tolist() for batch in stream.train_dataloader()] == [[0, 1, 2]]
    assert "size=NA" in str(stream)


def test_from_datasets_passes_sizes_on_where_they_are_known_and_can_be_pickled():
    data = Numbers.from_datasets(predict_dataset=range(6), batch_size=3, size=9)
    assert data.hparams == {"size": 9, "batch_size": 3}
    assert len(pickle.loads(pickle.dumps(data)).predict_dataloader()) == 2
