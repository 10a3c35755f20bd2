"""All about the data of a run in one object: download, split, loaders, transfer, state."""

from collections.abc import Callable, Iterator
from functools import partial
from inspect import Parameter, signature
from os import PathLike
from typing import Any, NoReturn, Self

import torch
from lt_checkpoint import load
from lt_interfaces import default_hook, is_overridden
from lt_module import HyperparametersMixin, instantiate
from lt_module.data_hooks import DataHooks
from lt_module.hparams_file import read_hparams_file
from lt_module.module import class_only
from torch.utils.data import DataLoader, IterableDataset

from lt_data.structure import fill, leaves

_LOADERS = ("train_dataloader", "val_dataloader", "test_dataloader", "predict_dataloader")


class LightningDataModule(DataHooks, HyperparametersMixin):
    """Bundle the data of a run: override `setup` and the `*_dataloader` methods, and any other hook you need.

    Attributes:
        trainer: The trainer that uses it, None before; not pickled.
        name: A name for people; nothing depends on it.
        prepare_data_per_node: Whether `prepare_data` runs on every machine, or only on the first.
        allow_zero_length_dataloader_with_multiple_devices: Whether an empty loader is accepted with several processes.
    """

    CHECKPOINT_HYPER_PARAMS_KEY = "datamodule_hyper_parameters"
    CHECKPOINT_HYPER_PARAMS_NAME = "datamodule_hparams_name"

    trainer: Any = None
    name: str | None = None
    prepare_data_per_node: bool = True
    allow_zero_length_dataloader_with_multiple_devices: bool = False

    def __init__(self) -> None:
        super().__init__()

    @default_hook
    def prepare_data(self) -> None:
        """Download and prepare, in one process per node; set no state here."""

    @default_hook
    def setup(self, stage: str) -> None:
        """Make datasets, in every process; `stage` is "fit", "validate", "test" or "predict"."""

    @default_hook
    def teardown(self, stage: str) -> None:
        """Let go of what `setup` made."""

    @default_hook
    def on_exception(self, exception: BaseException) -> None:
        """The run was stopped by an exception or an interrupt."""

    @default_hook
    def state_dict(self) -> dict[str, Any]:
        """What to keep in checkpoints, plain values and tensors; empty if nothing."""
        return {}

    @default_hook
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a saved state."""

    @classmethod
    def from_datasets(
        cls,
        train_dataset: Any = None,
        val_dataset: Any = None,
        test_dataset: Any = None,
        predict_dataset: Any = None,
        batch_size: int = 1,
        num_workers: int = 0,
        **datamodule_kwargs: Any,
    ) -> Self:
        """A data module over datasets, each one or a list, tuple or dict of them.

        Training data is shuffled where it can be indexed. `batch_size` and `num_workers` also go to an `__init__`
        that takes them, `datamodule_kwargs` in any case.
        """
        sizes = {"batch_size": batch_size, "num_workers": num_workers}
        parameters = signature(cls.__init__).parameters
        if all(p.kind is not Parameter.VAR_KEYWORD for p in parameters.values()):
            own = {name: size for name, size in sizes.items() if name in parameters}
        else:
            own = sizes
        datamodule = cls(**datamodule_kwargs, **own)
        for name, dataset in zip(_LOADERS, (train_dataset, val_dataset, test_dataset, predict_dataset), strict=True):
            if dataset is not None:
                loaders: Callable[[], Any] = partial(_loaders, dataset, name == "train_dataloader", **sizes)
                setattr(datamodule, name, loaders)
        return datamodule

    @class_only
    def load_from_checkpoint(
        cls,
        checkpoint_path: str | PathLike[str],
        map_location: Any = None,
        hparams_file: str | PathLike[str] | None = None,
        weights_only: bool | None = None,
        **kwargs: Any,
    ) -> Self:
        """A new data module with the hyperparameters and the state that a checkpoint holds of it.

        Args:
            checkpoint_path: The file.
            map_location: Where tensors of the state go; by default the CPU.
            hparams_file: A .yaml, .json or .csv file to use instead of the hyperparameters in the checkpoint.
            weights_only: Without effect: nothing but tensors and plain values is ever read.
            kwargs: Arguments of `__init__` that the checkpoint does not hold, or that replace those in it.
        """
        checkpoint = load(checkpoint_path, map_location="cpu" if map_location is None else map_location)
        saved = checkpoint.get(cls.CHECKPOINT_HYPER_PARAMS_KEY) or {}
        if hparams_file is not None:
            saved = read_hparams_file(hparams_file)
        datamodule = instantiate(cls, saved, checkpoint.get(cls.CHECKPOINT_HYPER_PARAMS_NAME), kwargs)
        if cls.__qualname__ in checkpoint:
            datamodule.load_state_dict(checkpoint[cls.__qualname__])
        return datamodule

    def __str__(self) -> str:
        """A line for each of the four kinds of loaders with the sizes of its datasets; requests the loaders."""
        return "\n".join(f"{{{name}: {self._sizes(name)}}}" for name in _LOADERS)

    def _sizes(self, name: str) -> str:
        if not is_overridden(self, name):
            return "None"
        try:
            sizes = [_size(loader) for loader in leaves(getattr(self, name)())]
        except Exception as error:  # before `setup` there may be no datasets yet
            return f"not yet ({type(error).__name__})"
        return " ; ".join(sizes if len(sizes) == 1 else [f"{i}. {size}" for i, size in enumerate(sizes, start=1)])

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "trainer"}

    def _needs(self, signature: str) -> NoReturn:
        name = signature.partition("(")[0]
        raise NotImplementedError(
            f"`{type(self).__name__}` has no `{name}` of its own. Define `def {name}(self)` and return a loader."
        )


def _loaders(datasets: Any, shuffle: bool, batch_size: int, num_workers: int) -> Any:
    def loader(dataset: Any) -> DataLoader[Any]:
        return DataLoader(
            dataset,
            batch_size=batch_size,
            shuffle=shuffle and not isinstance(dataset, IterableDataset),
            num_workers=num_workers,
            pin_memory=torch.accelerator.is_available(),
        )

    found: Iterator[Any] = leaves(datasets)
    return fill(datasets, map(loader, found))


def _size(loader: Any) -> str:
    try:
        return f"size={len(getattr(loader, 'dataset', loader))}"
    except (TypeError, NotImplementedError):
        return "size=NA"
