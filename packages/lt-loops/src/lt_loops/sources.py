"""Where batches come from: arguments, data module or module; how many of them; on which device."""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import torch
from lt_interfaces import MisconfigurationException, is_overridden
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader

from lt_loops.clock import Clock
from lt_loops.hooks import trimmed

HOOKS = {"train": "train_dataloader", "validate": "val_dataloader", "test": "test_dataloader"}


def hook_name(stage: str) -> str:
    """The method that gives a stage's loaders."""
    return HOOKS.get(stage, "predict_dataloader")


class Source:
    """The loaders of one stage, requested from whoever has them."""

    def __init__(self, stage: str, given: Any, datamodule: Any, module: Any) -> None:
        self.stage = stage
        hook = hook_name(stage)
        owners = [o for o in (datamodule, module) if o is not None and is_overridden(o, hook)]
        self.is_given = given is not None
        self.is_defined = self.is_given or bool(owners)
        self.given, self._owner = given, owners[0] if owners else None
        self._kind = "LightningModule" if self._owner is module else "LightningDataModule"

    def request(self, clock: Clock) -> Any:
        """Ask for the loaders, as the user gives them."""
        loaders = self.given
        if loaders is None and self._owner is not None:
            name = hook_name(self.stage)
            action = f"[{self._kind}]{type(self._owner).__name__}.{name}"
            loaders = clock.measured(action, getattr(self._owner, name), "data")()
        if loaders is None:
            raise MisconfigurationException(
                f"There is no data to {self.stage} on: `{hook_name(self.stage)}` gave None. "
                f"Pass a loader, or define `{hook_name(self.stage)}` on the module or the data module."
            )
        return loaders


def data_of(loaders: Any, more: Any, datamodule: Any) -> tuple[Any, Any]:
    """Loaders and data module; a data module in the loaders' place is taken as one."""
    for given in (loaders, datamodule):
        if isinstance(given, type):
            raise TypeError(f"The class `{given.__name__}` was given as the data. Pass an instance of it.")
    if hasattr(loaders, "train_dataloader") or hasattr(loaders, "prepare_data"):
        if datamodule is not None:
            raise MisconfigurationException("Two data modules were given. Pass one, as `datamodule=`.")
        loaders, datamodule = None, loaders
    if datamodule is not None and (loaders is not None or more is not None):
        raise MisconfigurationException("Both loaders and a data module were given. Pass one or the other.")
    return loaders, datamodule


def is_combined(loader: Any) -> bool:
    """True for loaders that yield (batch, batch_idx, dataloader_idx) out of several."""
    return hasattr(loader, "iterables") and hasattr(loader, "mode")


def is_batch(obj: Any) -> bool:
    """True for what only a batch can be: tensors and numbers in any nesting."""
    leaves = torch.utils._pytree.tree_leaves(obj)
    return all(isinstance(x, (Tensor, int, float, str, bytes)) or hasattr(x, "__array__") for x in leaves)


def is_collection(loaders: Any) -> bool:
    """True for a list or dict of loaders, False for a list of batches."""
    if not isinstance(loaders, (Mapping, Sequence)) or isinstance(loaders, (str, bytes)) or not loaders:
        return False
    members = loaders.values() if isinstance(loaders, Mapping) else loaders
    return not all(is_batch(m) for m in members)


def flat(loaders: Any) -> list[Any]:
    """Loaders in any nesting, one after another."""
    if is_combined(loaders) and loaders.mode == "sequential":
        return list(loaders.flattened)
    if not is_collection(loaders):
        return [loaders]
    members = loaders.values() if isinstance(loaders, Mapping) else loaders
    return [leaf for m in members for leaf in flat(m)]


def complete(loader: Any) -> Any:
    """The loader with its last, short batch, should it have been told to drop that."""
    if not (isinstance(loader, DataLoader) and loader.drop_last):
        return loader
    batched = loader.batch_sampler
    if type(batched) is BatchSampler:
        batched = BatchSampler(loader.sampler, batched.batch_size, drop_last=False)
    return altered(loader, drop_last=False, batch_sampler=batched)


def altered(loader: DataLoader[Any], **attributes: Any) -> DataLoader[Any]:
    """A copy that has not begun, with other attributes, also those that torch lets nobody assign."""
    twin = copy.copy(loader)
    vars(twin).update(attributes, _iterator=None)
    return twin


def length(loader: Any) -> float:
    """Number of batches as the loader tells it, infinite if it does not; for limits and ETA only."""
    try:
        return len(loader)
    except (TypeError, NotImplementedError):
        return float("inf")


def limited(name: str, loader: Any, limit: int | float) -> tuple[float, float]:
    """The number of batches to expect and the number at which to stop."""
    total = length(loader)
    if isinstance(limit, int):
        return min(total, limit), limit
    if limit in (0.0, 1.0):
        return (total, float("inf")) if limit else (0, 0)
    if total == float("inf"):
        raise MisconfigurationException(
            f"`{name}={limit}` is a share of a loader that does not know its length. Give a number of batches instead."
        )
    most = int(total * limit)
    if most == 0 and total > 0:
        raise MisconfigurationException(
            f"`{name}={limit}` of {int(total)} batches is none. Give at least {1 / total:.3g}, or a number of batches."
        )
    return most, most


def set_epoch(loader: Any, epoch: int) -> None:
    """Tell samplers that shuffle by epoch which one it is."""
    for leaf in flat(loader.iterables if is_combined(loader) else loader):
        sampler, inner = getattr(leaf, "sampler", None), getattr(getattr(leaf, "batch_sampler", None), "sampler", None)
        for one in (sampler,) if inner is sampler else (sampler, inner):
            tell = getattr(one, "set_epoch", None)
            if callable(tell):
                tell(epoch)


def batches(loader: Any, most: float) -> Iterator[Any]:
    """The batches of a loader up to a limit; the end of the data is the end of the iterator."""
    found: Iterable[Any] = (triple[0] for triple in loader) if is_combined(loader) else loader
    return iter(found) if most == float("inf") else islice(found, int(most))


def transfer(engine: Any, module: Any, datamodule: Any) -> Callable[[Any, int], Any] | None:
    """What moves a batch to the device through the user's hooks; None where nothing would be done."""

    def owner(name: str) -> Callable[..., Any] | None:
        for party in (datamodule, module):
            if party is not None and is_overridden(party, name):
                return getattr(party, name)  # type: ignore[no-any-return]
        return None

    before, move, after = map(
        owner, ("on_before_batch_transfer", "transfer_batch_to_device", "on_after_batch_transfer")
    )
    if before is None and move is None and after is None:
        return None if engine.device.type == "cpu" else lambda batch, _: engine.to_device(batch)

    def run(batch: Any, dataloader_idx: int) -> Any:
        if before is not None:
            batch = trimmed(before, 2)(batch, dataloader_idx)
        batch = engine.to_device(batch) if move is None else trimmed(move, 3)(batch, engine.device, dataloader_idx)
        return batch if after is None else trimmed(after, 2)(batch, dataloader_idx)

    return run
